//! What is shown of containers: `ps`, `inspect`, and `container prune`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::verbs::{background, formatted, inspected, made, rbox};
use env::{Done, Env};
use serde_json::Value;
use std::path::PathBuf;

/// A file of a container that is kept.
fn of_container(env: &Env, id: &str, file: &str) -> PathBuf {
    env.path("data/rbox/containers").join(id).join(file)
}

/// Names and states of all.
fn all(env: &Env) -> Done {
    rbox(env, &["ps", "-a", "--format", "{{.Names}} {{.State}}"])
}

/// Names of those that a filter lets through.
fn filtered(env: &Env, filters: &[&str]) -> String {
    let mut words = vec!["ps", "-a", "--format", "{{.Names}}"];
    filters.iter().for_each(|filter| words.extend(["--filter", filter]));
    rbox(env, &words).ok().stdout.lines().collect::<Vec<_>>().join(" ")
}

fn row(env: &Env, name: &str, template: &str) -> String {
    let name = format!("name=^{name}$");
    rbox(env, &["ps", "-a", "--filter", &name, "--format", template]).ok().stdout.trim_end().to_owned()
}

#[test]
fn filters() {
    let env = Env::new();
    std::fs::create_dir(env.path("shared")).unwrap();
    let bind = format!("{}:/in:ro", env.path("shared").display());
    let id = made(&env, "create", &["--name", "web-1", "-v", &bind], &["cat"]).ok().stdout;
    made(&env, "create", &["--name", "web-20", "-v", "data:/d", "--label", "a=1"], &["cat"]).ok();
    background(&env, &["--name", "db", "--expose", "5432", "--rm", "-i", "-v", "/anonymous"], &["cat"]);
    background(&env, &["--name", "web"], &["exit", "3"]);
    rbox(&env, &["wait", "web"]).ok();
    for (filters, names) in [
        (&["name=web"][..], "web web-20 web-1"),
        (&["name=^web$"], "web"),
        (&["name=^/web$"], "web"),
        (&["name=^web-[0-9]+$"], "web-20 web-1"),
        (&["name=^(db|web)$"], "web db"),
        (&["name=eb-1$", "name=d"], "db web-1"),
        (&["id=nothing"], ""),
        (&["health=none", "status=running"], "db"),
        (&["health=healthy"], ""),
        (&["is-task=false", "label=a"], "web-20"),
        (&["is-task=true"], ""),
        (&["volume=data"], "web-20"),
        (&["volume=/d", "volume=/in"], "web-20 web-1"),
        (&["volume=/anonymous"], "db"),
        (&["network=none", "status=created"], "web-20 web-1"),
        (&["network=bridge"], ""),
        (&["exited=3"], "web"),
        (&["exited=0"], ""),
        (&["before=db"], "web-20 web-1"),
        (&["since=web-20"], "web db"),
        // Nothing is published without a network.
        (&["expose=5432"], ""),
        (&["publish=8080"], ""),
        (&["until=1h"], ""),
    ] {
        assert_eq!(filtered(&env, filters), names, "{filters:?}");
    }
    assert_eq!(filtered(&env, &[&format!("volume={}", env.path("shared").display())]), "web-1");
    assert_eq!(filtered(&env, &[&format!("id={}", &id[..9])]), "web-1");
    for (filter, told) in [
        ("name=[", "--filter name=[: \"[\" is no regular expression"),
        ("health=fine", "--filter health=fine: not one of none, starting, healthy, unhealthy"),
        ("exited=x", "--filter exited=x: not an exit status"),
        ("expose=x", "--filter expose=x"),
        ("before=x", "--filter before=x: no such container"),
        ("is-task=x", "--filter is-task=x: true or false is wanted"),
    ] {
        rbox(&env, &["ps", "--filter", filter]).fails(125, told);
    }
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn fields() {
    let env = Env::new();
    let bind = format!("{}:/in", env.rootfs().display());
    let options = ["--name", "a", "--label", "com.example.some-key=v,w", "--label", "b=", "-v", "data:/d", "-v", &bind];
    background(&env, &[options.as_slice(), &["-i"]].concat(), &["cat", "\u{1b}[31m a \"b"]);
    // The guest does not know what to do.
    rbox(&env, &["wait", "a"]).ok();
    let home = env.rootfs().display().to_string();
    let cut = format!("{}…", home.chars().take(14).collect::<String>());
    for (template, shown) in [
        ("{{.Command}}", r#""/guest cat '\x1b[31m a…""#),
        ("{{.Label \"com.example.some-key\"}}|{{.Label \"none\"}}|", "v,w||"),
        ("{{.Labels}}", "b=,com.example.some-key=v,w"),
        ("{{.LocalVolumes}} {{.Networks}}", "1 none"),
        ("{{.Mounts}}", &format!("data,{cut}")),
        ("{{.Size}}", "0B"),
        ("{{.Platform}}", "<no value>"),
        ("{{.HealthStatus}}{{.State}}", "exited"),
    ] {
        assert_eq!(row(&env, "a", template), shown, "{template}");
    }
    let whole = rbox(&env, &["ps", "-a", "--no-trunc", "--format", "{{.Mounts}} {{.Command}}"]).ok().stdout;
    assert_eq!(whole, format!("data,{home} \"/guest cat '\\x1b[31m a \\\"b'\"\n"));
    let table =
        rbox(&env, &["ps", "-a", "--format", "table {{.Names}}\\t{{.Label \"com.example.some-key\"}}"]).ok().stdout;
    assert_eq!(table, "NAMES     some key\na         v,w\n");
    let json: Value = serde_json::from_str(&rbox(&env, &["ps", "-a", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!((&json["Mounts"], &json["Networks"]), (&Value::from(format!("data,{cut}")), &Value::from("none")));
    let sized = rbox(&env, &["ps", "-a", "-s"]).ok().stdout;
    assert!(sized.lines().next().unwrap().ends_with("NAMES     SIZE") && sized.ends_with(" 0B\n"), "{sized}");
    // docker's -q goes before a format.
    assert_eq!(rbox(&env, &["ps", "-a", "-q", "--format", "json"]).ok().stdout.len(), 13);
    rbox(&env, &["ps", "-a", "--format", "{{.Label}}"]).fails(125, "can't evaluate field Label");
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn a_size_is_what_was_written() {
    let env = Env::new();
    let mut command = env.rbox();
    command.args(["run", "-d", "--network=none", "--name=a", "--rootfs"]).arg(format!("{}:O", env.rootfs().display()));
    let done: Done = command.args(["/guest", "write-and-read", "/tmp/file"]).output().unwrap().into();
    done.ok();
    rbox(&env, &["wait", "a"]).ok();
    // The guest writes a word of four letters and the end of its line.
    assert_eq!(row(&env, "a", "{{.Size}}"), "5B");
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn what_is_known_of_one() {
    let env = Env::new();
    let id = background(
        &env,
        &[
            "--name=a",
            "-i",
            "--rm",
            "--label=a=b c",
            "-v=data:/d:ro",
            "-v=/anonymous",
            "--cap-add=NET_ADMIN",
            "-e=X=1 2",
            "--hostname=here",
            "--expose=80",
            "--stop-signal=9",
            "--init",
            "--tmpfs=/tmp",
            "--ulimit=nofile=100:200",
        ],
        &["cat"],
    );
    for (template, shown) in [
        ("{{json .Config.Env}}", r#"["X=1 2"]"#),
        ("{{index .Config.Labels \"a\"}}", "b c"),
        ("{{range .NetworkSettings.Networks}}[{{.IPAddress}}]{{end}}", "[]"),
        ("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}", "none"),
        ("{{.State.Status}} {{.State.Running}} {{.State.Health.Status}}", "running true <no value>"),
        ("{{.HostConfig.NetworkMode}} {{.HostConfig.AutoRemove}} {{.HostConfig.Init}}", "none true true"),
        ("{{.HostConfig.CapAdd}} {{.HostConfig.Binds}}", "[CAP_NET_ADMIN] [data:/d:ro]"),
        ("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Type}}", "no json-file"),
        ("{{range .HostConfig.Ulimits}}{{.Name}}={{.Soft}}:{{.Hard}}{{end}}", "nofile=100:200"),
        ("{{json .HostConfig.Tmpfs}}", r#"{"/tmp":""}"#),
        (
            "{{.Config.Hostname}} {{.Config.StopSignal}} {{.Config.OpenStdin}} {{.Config.Tty}}",
            "here SIGKILL true false",
        ),
        ("{{json .Config.Volumes}} {{json .Config.ExposedPorts}}", r#"{"/anonymous":{}} {"80/tcp":{}}"#),
        ("{{.Config.AttachStdout}} {{json .Config.Cmd}}", r#"false ["/guest","cat"]"#),
        ("{{json .NetworkSettings.Ports}} {{.RestartCount}} {{.Platform}}", "{} 0 linux"),
        (
            "{{with index .Mounts 0}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{.Driver}}{{end}}",
            "volume data /d false local",
        ),
        ("{{len .Mounts}} {{json .ExecIDs}} {{.Path}} {{.Args}}", "2 null /guest [cat]"),
    ] {
        assert_eq!(formatted(&env, "a", template), shown, "{template}");
    }
    let about = inspected(&env, "a");
    let volumes = env.path("data/rbox/volumes");
    assert_eq!(about["Mounts"][0]["Source"].as_str(), volumes.join("data/_data").to_str());
    let anonymous = about["Mounts"][1]["Name"].as_str().unwrap();
    assert!(anonymous.len() == 64 && volumes.join(anonymous).exists(), "{about}");
    assert_eq!(about["HostsPath"].as_str(), env.path("run/rbox/containers").join(&id).join("hosts").to_str());
    // Who publishes ports writes this.
    let ports = r#"[{"host":"::","dual":true,"host_port":8080,"container_port":80,"protocol":"tcp"}]"#;
    std::fs::write(env.path("run/rbox/containers").join(&id).join("ports.json"), ports).unwrap();
    let first = r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#;
    assert_eq!(formatted(&env, "a", first), "8080");
    assert_eq!(row(&env, "a", "{{.Ports}}"), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
    for (filter, names) in
        [("publish=8080", "a"), ("publish=80", ""), ("expose=80/tcp", "a"), ("publish=8000-9000", "a")]
    {
        assert_eq!(filtered(&env, &[filter]), names, "{filter}");
    }
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn what_is_known_of_one_that_is_kept() {
    let env = Env::new();
    let bind = format!("{}:/in:ro", env.rootfs().display());
    let options = ["--name=a", "-v", &bind, "--read-only", "--log-opt=max-size=1k", "--log-opt=max-file=2"];
    let id = made(&env, "create", &options, &["exit", "3"]).ok().stdout.trim_end().to_owned();
    for (template, shown) in [
        ("{{.State.Status}} {{.State.StartedAt}}", "created 0001-01-01T00:00:00Z"),
        ("{{json .HostConfig.LogConfig.Config}}", r#"{"max-file":"2","max-size":"1k"}"#),
        ("{{.HostConfig.AutoRemove}} {{.HostConfig.ReadonlyRootfs}}", "false true"),
        ("{{.Config.AttachStdout}} {{.HostsPath}}", "true "),
        ("{{json .NetworkSettings.Ports}} {{.NetworkSettings.SandboxKey}}", "{} "),
    ] {
        assert_eq!(formatted(&env, "a", template), shown.trim_end(), "{template}");
    }
    assert_eq!(inspected(&env, "a")["Config"]["Hostname"].as_str(), Some(&id[..12]));
    assert!(inspected(&env, "a").get("SizeRw").is_none());
    assert_eq!(rbox(&env, &["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "a"]).ok().stdout, "0 0\n");
    rbox(&env, &["start", "a"]).ok();
    rbox(&env, &["wait", "a"]).ok();
    assert_eq!(
        formatted(&env, "a", "{{.State.Status}} {{.State.ExitCode}} {{.Config.AttachStdout}}"),
        "exited 3 false"
    );
    // A supervisor that checks its container writes this.
    let health = r#"{"Status":"unhealthy","FailingStreak":2,"Log":[{"Start":"2026-01-02T03:04:05Z","End":"2026-01-02T03:04:06Z","ExitCode":1,"Output":"bad"}]}"#;
    std::fs::write(of_container(&env, &id, "health.json"), health).unwrap();
    let template =
        "{{.State.Health.Status}} {{.State.Health.FailingStreak}}{{range .State.Health.Log}} {{.Output}}{{end}}";
    assert_eq!(formatted(&env, "a", template), "unhealthy 2 bad");
    // Its files of /etc are its own.
    made(&env, "create", &["--name=b", "--volumes-from=a:ro"], &["cat"]).ok();
    assert_eq!(
        formatted(&env, "b", "{{range .Mounts}}{{.Destination}} {{end}}{{.HostConfig.VolumesFrom}}"),
        "/in [a:ro]"
    );
    rbox(&env, &["rm", "b"]).ok();
    let options = of_container(&env, &id, "options.json");
    std::fs::write(&options, "").unwrap();
    let done = rbox(&env, &["container", "inspect", "-f", "{{.Name}}", "a"]);
    assert_eq!(done.fails(125, &options.display().to_string()).stdout, "/a\n");
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn prune_takes_what_has_ended() {
    let env = Env::new();
    let id = |name: &str, command: &[&str]| {
        let mut words = env.rbox();
        words.args(["run", "-d", "--network=none", "--name", name, "--rootfs"]);
        let done: Done =
            words.arg(format!("{}:O", env.rootfs().display())).arg("/guest").args(command).output().unwrap().into();
        rbox(&env, &["wait", name]).ok();
        done.ok().stdout.trim_end().to_owned()
    };
    let stuck = id("stuck", &["exit", "0"]);
    let large = id("large", &["write", "/tmp/file", &"x".repeat(100_000)]);
    background(&env, &["--name=runs", "-i"], &["cat"]);
    let labelled = made(&env, "create", &["--label=keep"], &["cat"]).ok().stdout.trim_end().to_owned();
    // It cannot be moved away.
    let dir = of_container(&env, &stuck, "");
    env::set_mode(&dir, 0o500);
    let done = rbox(&env, &["container", "prune", "-f", "--filter", "label!=keep"]).fails(125, "container stuck: ");
    let (list, size) = done.stdout.split_once("\n\n").unwrap();
    assert_eq!(list, format!("Deleted Containers:\n{large}"));
    let size = size.strip_prefix("Total reclaimed space: ").unwrap().strip_suffix("kB\n").unwrap();
    // The text is in the file, and was an argument, which is written down four times.
    assert!((500.0..600.0).contains(&size.parse::<f64>().unwrap()), "{size}");
    env::set_mode(&dir, 0o700);
    let done = rbox(&env, &["container", "prune", "-f"]).ok().stdout;
    assert!(done.contains(&stuck) && done.contains(&labelled), "{done}");
    assert_eq!(rbox(&env, &["container", "prune", "-f"]).ok().stdout, "Total reclaimed space: 0B\n");
    assert_eq!(all(&env).ok().stdout, "runs running\n");
    rbox(&env, &["rm", "-f", "runs"]).ok();
}

#[test]
fn damaged_files_hide_nothing() {
    let env = Env::new();
    let ended = background(&env, &["--name", "ended"], &["exit", "3"]);
    rbox(&env, &["wait", "ended"]).ok();
    let runs = background(&env, &["--name", "runs", "--expose", "80", "-i"], &["cat"]);
    made(&env, "create", &["--name", "made"], &["cat"]).ok();
    let whole = "made created\nruns running\nended exited\n";
    assert_eq!(all(&env).ok().stdout, whole);
    let session = env.path("run/rbox/containers").join(&runs);
    // There are two of these, and one is enough.
    let run = of_container(&env, &runs, "process.json");
    let whole_run = std::fs::read(&run).unwrap();
    std::fs::write(&run, "{").unwrap();
    assert_eq!(all(&env).ok().stdout, whole);
    for (file, name) in [
        (of_container(&env, &ended, "exit.json"), "ended"),
        (session.join("ports.json"), "runs"),
        (session.join("process.json"), "runs"),
    ] {
        let before = std::fs::read(&file).ok();
        std::fs::write(&file, "{").unwrap();
        let done = all(&env).fails(125, &format!("container {name}: {}: ", file.display()));
        assert_eq!(done.stdout, whole);
        let done = rbox(&env, &["inspect", "-f", "{{.Name}}", name]).fails(125, &file.display().to_string());
        assert_eq!(done.stdout, format!("/{name}\n"));
        match before {
            Some(before) => std::fs::write(&file, before).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
    }
    std::fs::write(&run, whole_run).unwrap();
    let about = of_container(&env, &ended, "container.json");
    for text in ["", "{\"id\":"] {
        std::fs::write(&about, text).unwrap();
        let done = all(&env).fails(125, &format!("container {}: {}: ", &ended[..12], about.display()));
        assert_eq!(done.stdout, "made created\nruns running\n");
        for name in ["ended", &ended[..20]] {
            rbox(&env, &["inspect", "--type=container", name])
                .fails(125, &about.display().to_string())
                .advises("rbox rm -f");
        }
    }
    rbox(&env, &["rm", "-f", &ended]).ok();
    rbox(&env, &["rm", "-f", "runs", "made"]).ok();
    assert_eq!(all(&env).ok().stdout, "");
}
