//! What a container may use, and what becomes of limits where nobody can hold them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::verbs::{background, formatted, inspected, made, rbox};
use env::{Done, Env, eventually};
use serde_json::Value;

/// True where rbox is given cgroups with these controllers: by its user's systemd.
fn delegates(controllers: &[&str]) -> bool {
    let own = env::uid();
    let path = format!("/sys/fs/cgroup/user.slice/user-{own}.slice/user@{own}.service/cgroup.controllers");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    controllers.iter().all(|wanted| text.split_whitespace().any(|there| there == *wanted))
}

/// Leaves a test with its reason.
macro_rules! delegated {
    ($test:literal, $($controller:literal),+) => {
        if !delegates(&[$($controller),+]) {
            env::skip($test, "no cgroups are delegated here");
            return;
        }
    };
}

/// The same for a test of what is done without.
macro_rules! not_delegated {
    ($test:literal, $($controller:literal),+) => {
        if delegates(&[$($controller),+]) {
            env::skip($test, "cgroups are delegated here");
            return;
        }
    };
}

/// What became of a limit, as `inspect` says it: whether it is enforced, and how or why not.
fn held(about: &Value, option: &str) -> (bool, String) {
    let all = about["Limits"].as_array().unwrap();
    let one = all.iter().find(|limit| limit["Option"] == option).unwrap_or_else(|| panic!("{option}: {all:?}"));
    (one["Enforced"].as_bool().unwrap(), one["How"].as_str().unwrap().to_owned())
}

#[test]
fn the_three_of_the_tutorial() {
    delegated!("the_three_of_the_tutorial", "memory", "pids", "cpu");
    let env = Env::new();
    let limits = ["--rm", "--pids-limit", "10", "--memory", "64m", "--cpus", "0.5"];
    for (file, text) in [("memory.max", "67108864\n"), ("pids.max", "10\n"), ("cpu.max", "50000 100000\n")] {
        let done = made(&env, "run", &limits, &["read", &format!("/sys/fs/cgroup/{file}")]).ok();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (text, ""), "{file}");
    }
    let done = made(&env, "run", &limits, &["fork-until-it-fails"]).ok();
    assert_eq!((done.field("processes").as_str(), done.field("errno")), ("10", libc::EAGAIN.to_string()));
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn memory_ends_where_it_says() {
    delegated!("memory_ends_where_it_says", "memory");
    let env = Env::new();
    let done = made(&env, "run", &["--name=a", "--memory=64m"], &["take-memory", "300000000"]);
    assert_eq!((done.status, done.stdout.as_str()), (137, ""), "{done:?}");
    let about = inspected(&env, "a");
    assert_eq!((&about["State"]["OOMKilled"], &about["State"]["ExitCode"]), (&Value::Bool(true), &Value::from(137)));
    assert_eq!(
        (&about["HostConfig"]["Memory"], &about["HostConfig"]["MemorySwap"]),
        (&(64 << 20).into(), &(128 << 20).into())
    );
    // Less is none.
    rbox(&env, &["rm", "a"]).ok();
    let done = made(&env, "run", &["--name=a", "--memory=64m"], &["take-memory", "20000000"]).ok();
    assert_eq!(done.stdout, "taken=20000000\n");
    assert_eq!(inspected(&env, "a")["State"]["OOMKilled"], false);
    // The supervisor outlives it, and says so at once.
    rbox(&env, &["rm", "a"]).ok();
    background(&env, &["--name=a", "--memory=64m"], &["take-memory", "300000000"]);
    assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, "137\n");
    let told = rbox(&env, &["events", "--since=1h", "--until=0s", "--filter=event=oom", "--format={{.Action}}"]).ok();
    // The kernel may tell of one in two parts.
    assert!(told.stdout.lines().count() >= 2 && told.stdout.lines().all(|action| action == "oom"), "{told:?}");
    assert_eq!(inspected(&env, "a")["State"]["OOMKilled"], true);
    // What another run has done is not this one's.
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// Whoever waits for something of the kernel's uses no processor meanwhile, before it has happened and after it.
#[test]
fn its_supervisor_has_nothing_to_do() {
    delegated!("its_supervisor_has_nothing_to_do", "memory");
    let env = Env::new();
    background(&env, &["--name=a", "-i", "--memory=64m", "--cgroup-conf=memory.oom.group=0"], &["cat"]);
    let id = inspected(&env, "a")["Id"].as_str().unwrap().to_owned();
    let run = std::fs::read(env.path("data/rbox/containers").join(id).join("process.json")).unwrap();
    let supervisor = serde_json::from_slice::<Value>(&run).unwrap()["supervisor"]["pid"].as_i64().unwrap();
    let is_idle = || {
        let before = ticks(supervisor);
        // Nothing tells that nothing happens.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let used = ticks(supervisor) - before;
        assert!(used <= 20, "{used} of 200 ticks");
    };
    is_idle();
    let done = rbox(&env, &["exec", "a", "/guest", "take-memory", "300000000"]);
    assert_eq!(done.status, 137, "{done:?}");
    let oom = ["events", "--since=1h", "--until=0s", "--filter=event=oom", "--format={{.Action}}"];
    eventually("it is told", || rbox(&env, &oom).ok().stdout.starts_with("oom\n"));
    is_idle();
    assert_eq!(formatted(&env, "a", "{{.State.Status}}"), "running");
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// Time that a process has used, in hundredths of a second (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: i64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn half_a_processor() {
    delegated!("half_a_processor", "cpu");
    let env = Env::new();
    let done = made(&env, "run", &["--rm", "--cpus=0.5"], &["spin", "5000"]).ok();
    let had: u64 = done.field("had").parse().unwrap();
    // Other tests may take more of it away.
    assert!(had <= 2750, "{had} of 5000 ms");
}

#[test]
fn root_in_a_container_lifts_nothing() {
    delegated!("root_in_a_container_lifts_nothing", "memory", "pids", "cpu");
    let env = Env::new();
    let options = ["--rm", "--privileged", "--memory=64m", "--pids-limit=20", "--tmpfs=/tmp"];
    let done = made(&env, "run", &options, &["lift-limits", "/tmp/cgroup", "take-memory", "300000000"]);
    assert_eq!((done.field("mount").as_str(), done.status), ("0", 137), "{done:?}");
    let done = made(&env, "run", &options, &["lift-limits", "/tmp/cgroup", "fork-until-it-fails"]).ok();
    assert_eq!(done.field("processes"), "20");
    // It was moved, but not out.
    assert_eq!(done.field("own"), "/sub");
    // The hierarchy that every container has is not for writing.
    let done = made(&env, "run", &["--rm", "--memory=64m"], &["write", "/sys/fs/cgroup/memory.max", "max"]);
    assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS));
}

#[test]
fn a_container_in_a_container() {
    delegated!("a_container_in_a_container", "memory", "pids");
    let env = Env::new();
    let (rootfs, rbox) = (env.rootfs(), env::program("rbox"));
    let inner = |limits: &[&str], verb: &[&str]| -> Done {
        let mut outer = env.rbox();
        outer.args(["run", "--rm", "--privileged", "--network=none", "--memory=200m", "--tmpfs=/tmp", "-e=HOME=/tmp"]);
        outer.arg("-v").arg(format!("{}:/tmp/rbox", rbox.display()));
        outer.arg("-v").arg(format!("{}:/tmp/rootfs", rootfs.display()));
        outer.arg("--rootfs").arg(&rootfs).args(["/tmp/rbox", "run", "--rm", "--network=none"]).args(limits);
        outer.args(["--rootfs", "/tmp/rootfs", "/guest"]).args(verb).output().unwrap().into()
    };
    let done = inner(&["--pids-limit=10", "--memory=64m"], &["fork-until-it-fails"]).ok();
    assert_eq!(done.field("processes"), "10");
    let done = inner(&["--memory=64m"], &["take-memory", "100000000"]);
    assert_eq!((done.status, done.stdout.as_str()), (137, ""), "{done:?}");
}

#[test]
fn limits_of_one_that_runs() {
    delegated!("limits_of_one_that_runs", "memory", "pids", "cpu");
    let env = Env::new();
    background(&env, &["--name=a", "--memory=64m", "-i"], &["cat"]);
    let inside =
        |file: &str| rbox(&env, &["exec", "a", "/guest", "read", &format!("/sys/fs/cgroup/{file}")]).ok().stdout;
    assert_eq!(rbox(&env, &["update", "--memory=128m", "--cpus=1.5", "a"]).ok().stdout, "a\n");
    assert_eq!((inside("memory.max"), inside("cpu.max")), ("134217728\n".to_owned(), "150000 100000\n".to_owned()));
    let about = inspected(&env, "a");
    assert_eq!(about["HostConfig"]["Memory"], 128 << 20);
    assert_eq!(held(&about, "--cpus"), (true, "cpu.max".to_owned()));
    // Not any more.
    rbox(&env, &["update", "--cpus=0", "--memory=-1", "a"]).ok();
    assert_eq!((inside("memory.max"), inside("cpu.max")), ("max\n".to_owned(), "max 100000\n".to_owned()));
    rbox(&env, &["update", "--memory=128m", "a"]).ok();
    // All of it or nothing.
    let done = rbox(&env, &["update", "--memory=200m", "--cpus=1", "--device-write-bps=/dev/vda:1m", "a"]);
    done.fails(125, "--device-write-bps: cannot be enforced: the controller io is not delegated");
    assert_eq!((inside("memory.max"), inside("cpu.max")), ("134217728\n".to_owned(), "max 100000\n".to_owned()));
    rbox(&env, &["update", "--memory=1m", "a"]).fails(125, "minimum memory limit allowed is 6MB");
    // With the next start, too.
    rbox(&env, &["restart", "-t0", "a"]).ok();
    assert_eq!(inside("memory.max"), "134217728\n");
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn everything_stops_and_goes_on() {
    delegated!("everything_stops_and_goes_on", "pids");
    let env = Env::new();
    background(&env, &["--name=a", "-i"], &["cat"]);
    rbox(&env, &["unpause", "a"]).fails(125, "cannot unpause container: container a is not paused");
    assert_eq!(rbox(&env, &["pause", "a"]).ok().stdout, "a\n");
    rbox(&env, &["pause", "a"]).fails(125, "cannot pause container: container a is already paused");
    assert_eq!(formatted(&env, "a", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"), "paused true true");
    assert!(rbox(&env, &["ps", "--format={{.Status}}"]).ok().stdout.ends_with(" (Paused)\n"));
    rbox(&env, &["exec", "a", "/guest", "echo"]).fails(125, "container a is paused, unpause the container before exec");
    rbox(&env, &["rm", "a"]).fails(125, "container a: is running");
    rbox(&env, &["unpause", "a"]).ok();
    rbox(&env, &["exec", "a", "/guest", "echo"]).ok();
    // Who ends it need not let it go on first.
    rbox(&env, &["pause", "a"]).ok();
    rbox(&env, &["stop", "-t", "5", "a"]).ok();
    assert_eq!(formatted(&env, "a", "{{.State.Status}}"), "exited");
    rbox(&env, &["start", "a"]).ok();
    assert_eq!(formatted(&env, "a", "{{.State.Status}}"), "running");
    rbox(&env, &["pause", "a"]).ok();
    rbox(&env, &["kill", "a"]).ok();
    eventually("its end", || formatted(&env, "a", "{{.State.Status}}") == "exited");
    let told = rbox(&env, &["events", "--since=1h", "--until=0s", "--format={{.Action}}"]).ok().stdout;
    let told: Vec<&str> = told.lines().filter(|action| action.contains("pause")).collect();
    assert_eq!(told, ["pause", "unpause", "pause", "pause"]);
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn a_container_that_divides_its_cgroup() {
    delegated!("a_container_that_divides_its_cgroup", "memory");
    let env = Env::new();
    background(&env, &["--name=a", "--privileged", "--memory=64m"], &["divide-cgroup", "/sys/fs/cgroup"]);
    eventually("it is divided", || rbox(&env, &["logs", "a"]).ok().stdout == "divided\n");
    let done = rbox(&env, &["exec", "a", "/guest", "read", "/proc/self/cgroup"]).ok();
    assert_eq!(done.stdout, "0::/init\n");
    let path = format!("/sys/fs/cgroup{}", formatted(&env, "a", "{{.State.CgroupPath}}"));
    assert!(std::path::Path::new(&path).exists());
    rbox(&env, &["kill", "a"]).ok();
    eventually("nothing is left", || !std::path::Path::new(&path).exists());
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_is_paused_is_not_unhealthy() {
    delegated!("one_that_is_paused_is_not_unhealthy", "pids");
    let env = Env::new();
    let checked = ["--health-cmd=[\"/guest\",\"echo\"]", "--health-interval=200ms", "--health-timeout=3s"];
    let options = [&["--name=a", "-i", "--health-retries=1", "--health-on-failure=kill"], &checked[..]].concat();
    background(&env, &options, &["cat"]);
    let health = || formatted(&env, "a", "{{.State.Health.Status}}");
    eventually("it is healthy", || health() == "healthy");
    rbox(&env, &["pause", "a"]).ok();
    rbox(&env, &["start", "a"]).fails(125, "cannot start a paused container, try unpause instead");
    rbox(&env, &["attach", "a"]).fails(125, "you cannot attach to a paused container, unpause it first");
    // Nothing tells that nothing happens.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!((health().as_str(), formatted(&env, "a", "{{.State.Status}}").as_str()), ("healthy", "paused"));
    rbox(&env, &["unpause", "a"]).ok();
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn root_of_it_lifts_nothing_of_the_hosts() {
    delegated!("root_of_it_lifts_nothing_of_the_hosts", "memory");
    let env = Env::new();
    let (cover, given) = ("/sys/fs/cgroup", "/cg");
    for (dir, options) in [
        (cover, &["--network=host", "--privileged"][..]),
        (cover, &["--network=host", "--cap-add=SYS_ADMIN", "--id-mode=single"]),
        (cover, &["--network=host", "--cgroupns=host", "--privileged"]),
        (given, &["--network=none", "-v=/sys/fs/cgroup:/cg"]),
        (given, &["--network=none", "-v=/sys/fs/cgroup:/cg", "--security-opt=seccomp=unconfined"]),
        (given, &["--network=none", "-v=/sys/fs/cgroup:/cg", "--cgroupns=host", "--cap-add=ALL"]),
        ("/all/sys/fs/cgroup", &["--network=none", "-v=/:/all", "--privileged"]),
    ] {
        // Whoever unmounts what covers the host's own has that before it, else nothing is to be found.
        let words = ["lift-limits-of-host", dir, "take-memory", "300000000"];
        let done = env.guest(&[options, &["--memory=64m"]].concat(), &words);
        assert_eq!((done.status, done.field("done").as_str()), (137, "[]"), "{options:?}: {done:?}");
        // Without --privileged all of the host's /sys is read-only.
        let own = if options.contains(&"--cap-add=SYS_ADMIN") { "0" } else { "1" };
        let said = (done.field("remount"), done.field("own"));
        assert_eq!(said, (libc::EPERM.to_string(), own.to_owned()), "{options:?}");
    }
    // What it is given it may have from another one, or as a volume.
    background(&env, &["--name=a", "-v=/sys/fs/cgroup:/cg"], &["sleep"]);
    let words = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/sys/fs/cgroup", "hierarchy"];
    rbox(&env, &words).ok();
    for given in ["--volumes-from=a", "-v=hierarchy:/cg"] {
        let options = ["--network=none", given, "--memory=64m"];
        let done = env.guest(&options, &["lift-limits-of-host", "/cg", "take-memory", "300000000"]);
        let said = (done.status, done.field("done"), done.field("own"));
        assert_eq!(said, (137, "[]".to_owned(), "1".to_owned()), "{given}: {done:?}");
    }
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn where_root_of_it_gets_at_its_limits_that_is_said() {
    delegated!("where_root_of_it_gets_at_its_limits_that_is_said", "memory");
    let env = Env::new();
    background(&env, &["--name=a", "--memory=64m"], &["sleep"]);
    // The user namespace is another one's.
    for (options, is_said) in [
        (&["--userns=container:a"][..], false),
        (&["--userns=container:a", "-v=/sys:/s"], true),
        (&["--pid=container:a", "--cap-add=SYS_ADMIN"], true),
        (&["--cgroupns=container:a"], true),
    ] {
        background(&env, &[options, &["--name=b", "--memory=64m"]].concat(), &["sleep"]);
        let (is_held, how) = held(&inspected(&env, "b"), "--memory");
        assert!(is_held && how.contains("root of the container can lift") == is_said, "{options:?}: {how}");
        rbox(&env, &["rm", "-f", "b"]).ok();
    }
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn what_nobody_holds_is_refused() {
    not_delegated!("what_nobody_holds_is_refused", "memory");
    let env = Env::new();
    for (option, name) in [
        ("--memory=64m", "--memory"),
        ("--memory-reservation=64m", "--memory-reservation"),
        ("--cpus=0.5", "--cpus"),
        ("--cpu-quota=50000", "--cpu-quota"),
        ("--cpu-period=50000", "--cpu-period"),
        ("--cpu-shares=512", "--cpu-shares"),
        ("--cpuset-mems=0", "--cpuset-mems"),
        ("--cgroup-conf=memory.high=1000000", "--cgroup-conf"),
    ] {
        let done = made(&env, "run", &["--rm", option], &["echo", "ran"]);
        done.fails(125, &format!("rbox: {name}: cannot be enforced: ")).advises("--limits best-effort runs it without");
        let done = made(&env, "run", &["--rm", "--limits=best-effort", option], &["echo", "ran"]).ok();
        assert_eq!(done.stdout, "ran\n");
        assert!(done.stderr.contains(&format!("going on without limits: {name}: cannot be enforced: ")), "{done:?}");
    }
    made(&env, "run", &["--rm", "--cgroup-parent=/foo"], &["echo"]).fails(125, "rbox: --cgroup-parent: ");
    made(&env, "run", &["--rm", "--memory=-1", "--cpu-quota=-1"], &["echo"]).ok();
    // One reason for several is said once.
    let done = made(&env, "run", &["--rm", "--memory=64m", "--cpus=1"], &["echo", "ran"]);
    done.fails(125, "rbox: --memory, --cpus: cannot be enforced: ");
    // What nobody has asked for is no reason not to run.
    background(&env, &["--name=a"], &["sleep"]);
    rbox(&env, &["update", "--memory=64m", "a"]).fails(125, "container a has no cgroup");
    rbox(&env, &["pause", "a"]).fails(125, "cannot pause container: container a has no cgroup");
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn what_else_holds_them() {
    not_delegated!("what_else_holds_them", "memory");
    let env = Env::new();
    let done = made(&env, "run", &["--rm", "--pids-limit=10"], &["fork-until-it-fails"]).ok();
    assert_eq!((done.field("processes").as_str(), done.field("errno")), ("10", libc::EAGAIN.to_string()));
    let all = made(&env, "run", &["--rm"], &["processors"]).ok().field("processors");
    let last = all.rsplit(',').next().unwrap();
    let done = made(&env, "run", &["--rm", "--cpuset-cpus", last], &["processors"]).ok();
    assert_eq!(done.field("processors"), last);
    made(&env, "run", &["--rm", "--cpuset-cpus=4000"], &["processors"]).fails(125, "Requested CPUs are not available");
    let best_effort = 2 << 13;
    let done = made(&env, "run", &["--rm", "--blkio-weight=10"], &["priority"]).ok();
    assert_eq!(done.field("priority"), (best_effort | 7).to_string());
    // For another process in it, too.
    background(&env, &["--name=a", "--cpuset-cpus", last, "--pids-limit=10"], &["sleep"]);
    let done = rbox(&env, &["exec", "a", "/guest", "processors"]).ok();
    assert_eq!(done.field("processors"), last);
    let about = inspected(&env, "a");
    let of = |option| held(&about, option);
    assert!(of("--cpuset-cpus").0 && of("--cpuset-cpus").1.starts_with("sched_setaffinity"), "{about:?}");
    assert!(of("--pids-limit").0 && of("--pids-limit").1.starts_with("RLIMIT_NPROC"), "{about:?}");
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn words_that_cannot_be_meant() {
    let env = Env::new();
    for (option, said) in [
        ("--memory=1m", "--memory: minimum memory limit allowed is 6MB"),
        ("--memory-swap=1g", "--memory-swap: you should always set the memory limit"),
        ("--cpu-period=5", "--cpu-period 5: CPU cfs period cannot be less than 1ms (i.e. 1000)"),
        ("--cpu-quota=5", "--cpu-quota 5: CPU cfs quota cannot be less than 1ms (i.e. 1000)"),
        ("--cpus=x", "--cpus x: not a number of processors"),
        ("--blkio-weight=5", "--blkio-weight 5: range of blkio weight is from 10 to 1000"),
        ("--cpuset-cpus=1-", "--cpuset-cpus 1-: \"\" is not a number"),
        ("--device-read-bps=/dev/null:1m", "/dev/null: not a block device"),
        ("--device-write-iops=/dev/null:1m", "--device-write-iops /dev/null:1m: not a number"),
        ("--cgroup-conf=cgroup.procs=1", "--cgroup-conf cgroup.procs: not a limit of a controller"),
        ("--cgroup-parent=x", "--cgroup-parent x: NAME.slice or an absolute path of a cgroup is wanted"),
        ("--cgroups=some", "--cgroups some: enabled, disabled or split is wanted"),
        ("--limits=some", "--limits some: enforce or best-effort is wanted"),
        ("--oom-kill-disable", "--oom-kill-disable: cgroup v2 has no such thing"),
        ("--memory-swappiness=50", "--memory-swappiness: cgroup v2 has no such thing"),
        ("--device-cgroup-rule=a", "--device-cgroup-rule: needs root on the host"),
    ] {
        made(&env, "run", &["--rm", option], &["echo"]).fails(125, said);
        made(&env, "create", &[option], &["echo"]).fails(125, said);
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
    made(&env, "run", &["--rm", "--cgroups=disabled", "--memory=64m"], &["echo"])
        .fails(125, "--memory: cannot be enforced: --cgroups disabled");
    made(&env, "run", &["--rm", "--cgroups=disabled", "--memory=0", "--cpus=0"], &["echo"]).ok();
}
