use super::{Column, list, objects};
use crate::error::Failure;
use serde_json::{Value, json};

const COLUMNS: [Column; 5] = [
    Column { heading: "REPOSITORY", field: "Repository", shown: true },
    Column { heading: "TAG", field: "Tag", shown: true },
    Column { heading: "IMAGE ID", field: "ID", shown: true },
    Column { heading: "SIZE", field: "Size", shown: true },
    Column { heading: "DIGEST", field: "Digest", shown: false },
];

fn rows() -> Vec<Value> {
    vec![
        json!({"Repository": "debian", "Tag": "13", "ID": "5ed5d8ac2a32", "Size": "117MB", "Digest": "sha256:1"}),
        json!({"Repository": "registry.example/a/long/name", "Tag": "<none>", "ID": "0f0e", "Size": "4.5kB", "Count": 7}),
    ]
}

fn shown(format: Option<&str>, heading: bool) -> String {
    list(&rows(), &COLUMNS, format, heading).expect("valid")
}

#[test]
fn the_default_table() {
    let table = "REPOSITORY                     TAG       IMAGE ID       SIZE\n\
                 debian                         13        5ed5d8ac2a32   117MB\n\
                 registry.example/a/long/name   <none>    0f0e           4.5kB\n";
    for format in [None, Some(""), Some("table"), Some(" table ")] {
        assert_eq!(shown(format, true), table, "{format:?}");
    }
    let body: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(shown(None, false).lines().collect::<Vec<_>>(), body);
    assert_eq!(list(&[], &COLUMNS, None, true).expect("valid"), "REPOSITORY   TAG       IMAGE ID   SIZE\n");
    assert_eq!(list(&[], &COLUMNS, None, false).expect("valid"), "");
}

#[test]
fn cells_are_text_on_one_line() {
    let row = json!({"Repository": "a\nb\tc\u{1b}[31m", "Tag": null, "ID": 7, "Size": ["x", 1]});
    let text = list(&[row], &COLUMNS, None, false).expect("valid");
    assert_eq!(text, "a\\nb\\tc\\x1b[31m             7         [x 1]\n");
}

#[test]
fn a_table_of_ones_own() {
    assert_eq!(
        shown(Some("table {{.ID}}\\t{{.Tag}}"), true),
        "IMAGE ID       TAG\n5ed5d8ac2a32   13\n0f0e           <none>\n"
    );
    assert_eq!(shown(Some("table {{.ID}}\t{{.Tag}}"), false), "5ed5d8ac2a32   13\n0f0e           <none>\n");
    assert_eq!(
        shown(Some("table {{upper .Repository}}: {{.digest}}"), true),
        "REPOSITORY: DIGEST\nDEBIAN: sha256:1\nREGISTRY.EXAMPLE/A/LONG/NAME: <no value>\n"
    );
    assert_eq!(list(&[], &COLUMNS, Some("table {{.ID}}"), true).expect("valid"), "IMAGE ID\n");
}

#[test]
fn a_line_for_each() {
    assert_eq!(shown(Some(" {{.ID}} "), true), "5ed5d8ac2a32\n0f0e\n");
    assert_eq!(
        shown(Some("{{.Repository}}:{{.Tag}}\\t{{.Count}}"), false),
        "debian:13\t<no value>\nregistry.example/a/long/name:<none>\t7\n"
    );
    assert_eq!(list(&[], &COLUMNS, Some("{{.ID}}"), true).expect("valid"), "");
    let line = r#"{"Digest":"sha256:1","ID":"5ed5d8ac2a32","Repository":"debian","Size":"117MB","Tag":"13"}"#;
    for format in ["json", "jsonl", "{{json .}}"] {
        let text = shown(Some(format), true);
        assert_eq!((text.lines().next(), text.lines().count()), (Some(line), 2), "{format}");
    }
    assert_eq!(list(&[], &COLUMNS, Some("json"), true).expect("valid"), "");
}

#[test]
fn errors_say_where() {
    let failure = |format| Failure::from(&list(&rows(), &COLUMNS, Some(format), true).expect_err(format));
    assert_eq!(failure("{{.ID").message, "--format: 1:1: the action is not closed: }} is missing");
    let failure = failure("table {{.ID}}\\t{{.Nmae}}");
    assert_eq!(failure.message, "--format: 1:18: can't evaluate field Nmae: there is none of that name");
    assert_eq!(failure.hints, ["the fields are Repository, Tag, ID, Size, Digest"]);
    // It is read even where there is nothing to execute it over.
    assert!(list(&[], &COLUMNS, Some("{{"), true).is_err());
    assert!(objects(&[], Some("{{")).is_err());
    let error = objects(&[json!({"Mounts": []})], Some("{{.Mounts.Type}}")).expect_err("an array");
    let failure = Failure::from(&error);
    assert_eq!(failure.message, "--format: 1:10: can't evaluate field Type in an array");
    assert!(failure.hints[0].contains("{{range"));
}

#[test]
fn inspected() {
    let values = [json!({"Id": "1", "Config": {"Cmd": ["sh"], "Labels": {}, "Env": []}}), json!({"Id": "2"})];
    let text = objects(&values, None).expect("valid");
    assert_eq!(
        text,
        "[\n    {\n        \"Config\": {\n            \"Cmd\": [\n                \"sh\"\n            ],\n            \
         \"Env\": [],\n            \"Labels\": {}\n        },\n        \"Id\": \"1\"\n    },\n    {\n        \"Id\": \
         \"2\"\n    }\n]\n"
    );
    let compact = r#"[{"Config":{"Cmd":["sh"],"Env":[],"Labels":{}},"Id":"1"},{"Id":"2"}]"#.to_owned() + "\n";
    assert_eq!(objects(&values, Some("json")).expect("valid"), compact);
    assert_eq!(objects(&values, Some("{{.ID}} {{.Config.Cmd}}")).expect("valid"), "1 [sh]\n2 <no value>\n");
    assert_eq!(objects(&values[..1], Some(" {{.Id}} ")).expect("valid"), " 1 \n");
    assert_eq!(objects(&[], None).expect("valid"), "[]\n");
    assert_eq!(objects(&[], Some("json")).expect("valid"), "[]\n");
    assert_eq!(objects(&[], Some("{{.ID}}")).expect("valid"), "");
}
