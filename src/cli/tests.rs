use super::container::ContainerArgs;
use super::*;
use crate::error::Failure;
use crate::spec::network::Network;
use crate::spec::options::{IdMode, Mount, Namespace, Options, Pull, Root, Userns};
use clap::FromArgMatches;
use std::path::Path;

fn parse(words: &[&str]) -> Result<Options> {
    let args = ["rbox", "run"].into_iter().chain(words.iter().copied());
    let mut matches =
        command().try_get_matches_from(args).map_err(|error| usage::report(&error, "run").expect_err("an error"))?;
    let (_, mut matches) = matches.remove_subcommand().expect("a verb");
    ContainerArgs::from_arg_matches_mut(&mut matches)?.options(Path::new("/home/ada")).map(|(options, _)| options)
}

fn line(text: &str) -> Result<Options> {
    parse(&text.split(' ').collect::<Vec<_>>())
}

fn message(text: &str) -> String {
    Failure::from(&line(text).expect_err(text)).message
}

#[test]
fn the_grammar_is_sound() {
    let mut command = command();
    command.build();
    command.debug_assert();
}

/// Nothing that is typed is lost, and the short grammar says no to what it does not know.
#[test]
fn the_short_grammar_knows_it_or_says_no() {
    let short = || (verb_of("run").options)(Command::new(SHORT).disable_help_flag(true));
    let whole = || (verb_of("run").options)(Command::new("run").disable_help_flag(true));
    let read = |matches: &mut ArgMatches| format!("{:?}", ContainerArgs::from_arg_matches_mut(matches).expect("valid"));
    let (mut read_by_both, mut whole_alone) = (0, 0);
    for option in whole().get_arguments().filter(|option| !option.is_positional() && option.get_id() != "help") {
        let long = option.get_long().expect("each has a long name");
        let flag = option.get_num_args().is_some_and(|count| count.min_values() == 0);
        let names = option.get_all_aliases().into_iter().flatten().chain([long]);
        for name in names {
            let words = match flag {
                true => vec!["run".to_owned(), format!("--{name}"), "image".to_owned()],
                false => vec!["run".to_owned(), format!("--{name}"), "1".to_owned(), "image".to_owned()],
            };
            let plain = read(&mut whole().try_get_matches_from(["run", "image"]).expect("valid"));
            let by_whole = read(&mut whole().try_get_matches_from(&words).expect("valid"));
            assert_ne!(by_whole, plain, "--{name} is lost");
            match short().try_get_matches_from(&words) {
                Ok(mut matches) => {
                    assert_eq!(read(&mut matches), by_whole, "--{name}");
                    read_by_both += 1;
                }
                Err(_) => whole_alone += 1,
            }
        }
    }
    assert!(read_by_both > 20 && whole_alone > 20, "{read_by_both} and {whole_alone}");
}

fn verb_of(name: &str) -> &'static Verb {
    VERBS.iter().find(|known| known.name == name).expect("a verb")
}

#[test]
fn directory_and_command() {
    for (text, path, overlay, words) in [
        ("--rootfs /r sh -c id", "/r", false, "sh -c id"),
        ("--rootfs=/r sh", "/r", false, "sh"),
        ("--rootfs ./r:O sh --rm -e X", "/home/ada/r", true, "sh --rm -e X"),
        ("--rootfs --rm /r sh", "/r", false, "sh"),
        ("--rm --rootfs r -- sh -- x", "/home/ada/r", false, "sh -- x"),
        ("--rootfs /r sh --help", "/r", false, "sh --help"),
    ] {
        let options = line(text).expect(text);
        assert_eq!(options.root, Root::Directory { path: path.into(), overlay }, "{text}");
        assert_eq!(options.command.join(" "), words, "{text}");
    }
    let options = parse(&["--pull", "never", "alpine", "sh", "-c", "x"]).expect("valid");
    assert_eq!(options.root, Root::Image { name: "alpine".to_owned(), pull: Pull::Never });
    assert_eq!(options.command, ["sh", "-c", "x"]);
    assert_eq!(parse(&[]).expect_err("none").to_string(), "no image");
    assert_eq!(message("--pull never --rootfs x sh"), "--pull: --rootfs is no image");
    assert_eq!(message("--rootfs"), "--rootfs: no directory");
}

#[test]
fn flags() {
    let options = line("--rootfs /r -it --rm --init --privileged sh").expect("valid");
    assert!(options.interactive && options.tty && options.remove && options.init && options.privileged);
    let options = line("--rootfs /r -it --rm=false --init=true --tty=false sh").expect("valid");
    assert!(options.interactive && !options.tty && !options.remove && options.init);
    assert!(line("--rootfs /r -ti sh").expect("valid").tty);
}

#[test]
fn the_last_of_two_counts_and_lists_grow() {
    let options = line("--rootfs /r --name a --name b -w /x -w /y -h c --rm --rm sh").expect("valid");
    assert_eq!((options.name.as_deref(), options.workdir.as_deref()), (Some("b"), Some("/y")));
    assert_eq!(options.hostname.as_deref(), Some("c"));
    let options = line("--rootfs /r -v /a:/a -v /b:/b --mount type=tmpfs,dst=/c --tmpfs /d sh").expect("valid");
    assert_eq!(options.mounts.len(), 4);
    let options = line("--rootfs /r -e A=1 --env=B=2 -eC=3 sh").expect("valid");
    assert_eq!(options.env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
}

#[test]
fn many_variables() {
    let pairs: Vec<String> = (0..10_000).map(|n| format!("N{n}={n}")).collect();
    let mut words = vec!["--rootfs", "/r"];
    words.extend(pairs.iter().flat_map(|pair| ["-e", pair.as_str()]));
    words.push("sh");
    assert_eq!(parse(&words).expect("valid").env.len(), 10_000);
}

#[test]
fn variables_of_the_caller() {
    let options = line("--rootfs /r -e PATH -e RBOX_TEST_UNSET -e A=1 -e A sh");
    let options = options.expect("valid");
    assert_eq!(options.env, [("PATH".to_owned(), std::env::var("PATH").expect("set"))]);
    assert_eq!(options.unset_env, ["RBOX_TEST_UNSET", "A"]);
}

#[test]
fn files_of_variables_come_first() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs_err::write(file.path(), "A=1\nB=2\n").expect("writable");
    let name = file.path().to_str().expect("a name");
    let options = parse(&["--rootfs", "/r", "-e", "B=3", "--env-file", name, "sh"]).expect("valid");
    assert_eq!(
        options.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        ["A=1", "B=2", "B=3"]
    );
}

#[test]
fn values_of_all_kinds() {
    let options = line(
        "--rootfs /r --userns keep-id:uid=5 --id-mode range --network host --ipc none --pid container:web \
         --shm-size 1m --umask 027 --oom-score-adj -5 --timeout 3 --stop-signal QUIT --pidfile p --cap-add net_admin \
         --ulimit core=-1 --entrypoint [\"a\",\"b\"] -l x --annotation y=z --user 0:5 sh",
    )
    .expect("valid");
    assert_eq!(options.userns, Userns::KeepId { uid: Some(5), gid: None, size: None });
    assert_eq!((options.id_mode, options.network, options.no_shm), (IdMode::Range, Network::Host, true));
    assert_eq!(options.pid, Namespace::Container("web".to_owned()));
    assert_eq!((options.shm_size, options.umask, options.oom_score_adj), (Some(1 << 20), Some(0o27), Some(-5)));
    assert_eq!((options.timeout, options.stop_signal), (3, Some(3)));
    assert_eq!(options.pidfile.as_deref(), Some(Path::new("/home/ada/p")));
    assert_eq!((options.cap_add, options.entrypoint), (vec!["NET_ADMIN".into()], Some(vec!["a".into(), "b".into()])));
    assert_eq!(options.annotations.len(), 2);
    assert_eq!(parse(&["--rootfs", "/r", "--entrypoint", "", "x"]).expect("valid").entrypoint, Some(Vec::new()));
    assert_eq!(line("--rootfs /r --net=none x").expect("valid").network, Network::None);
}

#[test]
fn writable_places_of_a_read_only_root() {
    let options = line("--rootfs /r --read-only --read-only-tmpfs -v /a:/tmp sh").expect("valid");
    let targets = options.mounts.iter().map(Mount::target);
    assert_eq!(targets.collect::<Vec<_>>(), ["/tmp", "/run", "/var/tmp"]);
    assert!(message("--rootfs /r --read-only-tmpfs sh").starts_with("--read-only-tmpfs: only with --read-only"));
}

#[test]
fn errors_name_the_option() {
    for (text, expected) in [
        ("--ulimit nofile=x", "--ulimit nofile=x: not a number"),
        ("--name ../x", "--name ../x: not a name: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"),
        ("-h a\nb", "--hostname a\nb: white space or control characters in it"),
        ("-v data:/b:O", "-v data:/b:O: O: a volume keeps its changes"),
        ("--network ns:x", "--network ns:x: x: the path of a namespace must be absolute"),
        ("-p 0:80", "-p 0:80: invalid hostPort: \"0\": ports go from 1 to 65535"),
        ("--ip x", "--ip x: \"x\" is not an ip address"),
        ("--mac-address x", "--mac-address x: address x: invalid MAC address"),
        ("--add-host x", "--add-host x: bad format for add-host: \"x\""),
        (
            "--network-alias a/b",
            "--network-alias a/b: \"a/b\" is not the name of a host: only [a-zA-Z0-9_.-] is allowed",
        ),
        ("--cap-add x", "--cap-add x: unknown capability"),
        ("--shm-size 0", "--shm-size 0: must be greater than 0"),
        ("--umask 8", "--umask 8: not an octal number up to 0777"),
        ("--oom-score-adj 1001", "--oom-score-adj 1001: not from -1000 to 1000"),
        ("--timeout x", "--timeout x: not a number"),
        ("--init-path /x", "--init-path: rbox has an init of its own and runs no other: use --init"),
        ("--id-mode x", "--id-mode x: not one of auto, range, single"),
        ("--userns host --uidmap 0:0:1", "--userns: excludes --uidmap and --gidmap: each says what is mapped"),
        ("--foo", "unexpected argument '--foo' found"),
        ("--name", "a value is required for '--name <NAME>' but none was supplied"),
    ] {
        let text = if text == "--foo" || text == "--name" { text.to_owned() } else { format!("{text} --rootfs /r sh") };
        assert_eq!(message(&text), expected);
    }
}

#[test]
fn usage_errors_have_hints() {
    let failure = Failure::from(&line("--privilegd --rootfs /r sh").expect_err("unknown"));
    assert_eq!(failure.exit, 125);
    assert_eq!(failure.hints.last().map(String::as_str), Some("see `rbox run --help`"));
    assert!(failure.hints[0].contains("--privileged"), "{:?}", failure.hints);
}

#[test]
fn only_text() {
    use std::os::unix::ffi::OsStringExt;
    let args = [OsString::from("rbox"), OsString::from_vec(b"a\xff".to_vec())];
    let error = arguments(args.into_iter()).expect_err("not text");
    assert_eq!(Failure::from(&error).message, "argument 1: a\u{fffd}: not UTF-8");
}
