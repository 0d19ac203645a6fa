mod hostile;
mod printf;

use super::{Purpose, Template};
use serde_json::{Value, json};

/// What most templates here are executed over.
fn data() -> Value {
    json!({
        "S": "abc", "I": 5, "F": 1.5, "Big": 9_007_199_254_740_993_u64, "B": true, "Null": null,
        "L": ["a", "b", "c"], "LI": [1, 2, 3], "E": {}, "EL": [],
        "M": {"a": "b", "c": "d", "sub": {"x": 1}},
        "Mixed": {"n": null, "l": [1, null]},
        "State": {"Status": "running", "Pid": 42, "Running": true, "ExitCode": 0},
        "Mounts": [{"Type": "volume", "Name": "v1"}, {"Type": "bind", "Name": ""}],
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/udp": null},
        "Id": "0123456789abcdef",
    })
}

/// What a template prints, or the message of its fault.
fn run(template: &str, value: &Value) -> Result<String, String> {
    let result = Template::parse(template, 0).and_then(|template| template.execute(value, &Purpose::Object));
    result.map_err(|fault| fault.message(template))
}

fn prints(table: &[(&str, &str)]) {
    for (template, expected) in table {
        assert_eq!(run(template, &data()).as_deref(), Ok(*expected), "{template}");
    }
}

fn fails(table: &[(&str, &str)]) {
    for (template, expected) in table {
        assert_eq!(run(template, &data()), Err((*expected).to_owned()), "{template}");
    }
}

#[test]
fn as_scripts_have_them() {
    prints(&[
        ("{{.State.Status}}", "running"),
        ("{{.Id}} {{.ID}} {{.state.STATUS}}", "0123456789abcdef 0123456789abcdef running"),
        ("{{json .State}}", r#"{"ExitCode":0,"Pid":42,"Running":true,"Status":"running"}"#),
        ("{{range .Mounts}}{{.Type}}:{{.Name}} {{else}}none{{end}}", "volume:v1 bind: "),
        ("{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}", "a=b;c=d;sub=map[x:1];"),
        (
            "{{range $p, $conf := .Ports}}{{$p}} -> {{with $conf}}{{(index . 0).HostPort}}{{else}}-{{end}} {{end}}",
            "80/tcp -> 8080 90/udp -> - ",
        ),
        (r#"{{(index (index .Ports "80/tcp") 0).HostPort}}"#, "8080"),
        ("{{if .State.Running}}up{{else if eq .State.ExitCode 0}}done{{else}}failed{{end}}", "up"),
        ("{{if and .State.Running (gt .State.Pid 1)}}{{.State.Pid}}{{end}}", "42"),
        (r#"{{join .L ","}} {{split "a:b" ":"}} {{index (split "a:b" ":") 1}}"#, "a,b,c [a b] b"),
        (r#"{{.S | printf "%s-%s" "x" | upper}}"#, "X-ABC"),
        ("{{slice .Id 0 12}} {{truncate .Id 12}} {{printf \"%.12s\" .Id}}", "0123456789ab 0123456789ab 0123456789ab"),
        ("{{.S}}\\t{{.I}}\\n", "abc\t5\n"),
        (r#"{{.S}}{{"\t"}}{{.I}}{{"\n"}}{{println}}"#, "abc\t5\n\n"),
        (r#"{{with .State}}{{.Status}} {{$.S}}{{end}}"#, "running abc"),
        (r#"{{range $i, $e := .L}}{{if $i}}, {{end}}{{$e}}{{end}}"#, "a, b, c"),
        ("{{len .Mounts}} {{len .Id}} {{len .M}}", "2 16 3"),
    ]);
}

#[test]
fn values_are_printed_as_go_does() {
    prints(&[
        ("{{.M}}|{{.L}}|{{.E}}|{{.EL}}", "map[a:b c:d sub:map[x:1]]|[a b c]|map[]|[]"),
        ("{{.Mixed}}", "map[l:[1 <nil>] n:<nil>]"),
        ("{{.Null}}|{{.Nope}}|{{.Nope.X.Y}}", "<no value>|<no value>|<no value>"),
        ("{{print .Null}}|{{print .Nope}}|{{print nil}}", "<nil>|<nil>|<nil>"),
        ("{{.Big}}|{{.F}}|{{.B}}|{{.I}}", "9007199254740993|1.5|true|5"),
        (
            "{{1e6}}|{{100000.0}}|{{1e20}}|{{0.0001}}|{{0.00001}}|{{123456789.5}}",
            "1e+06|100000|1e+20|0.0001|1e-05|1.234567895e+08",
        ),
        (
            "{{0x10}}|{{0b11}}|{{0o17}}|{{017}}|{{1_000}}|{{-5}}|{{+5}}|{{.5}}|{{-0x8000000000000000}}",
            "16|3|15|15|1000|-5|5|0.5|-9223372036854775808",
        ),
        (r"{{'a'}}|{{'\n'}}|{{'\''}}|{{'é'}}|{{'\x41'}}", "97|10|39|233|65"),
        (r#"{{"a\tb\x41\101\u00e9\\\"\a"}}|{{`raw\n"`}}"#, "a\tbAAé\\\"\u{7}|raw\\n\""),
        ("{{true}}|{{false}}", "true|false"),
    ]);
}

#[test]
fn text_and_blanks() {
    prints(&[
        ("", ""),
        ("no action", "no action"),
        ("a {{- 1 -}} b", "a1b"),
        ("a  \n {{- \"b\" -}} \t\r\n c {{/* {{comment}} */}} d {{- /* c2 */ -}} e", "abc  de"),
        ("a \\n {{- 1}}", "a1"),
        ("{{- 3}}|{{-3}}|{{3 -}} x", "3|-3|3x"),
        ("{{.S}}}}", "abc}}"),
        ("}}{{\"}}\"}}", "}}}}"),
        ("{{\n.S\n|\nprintf \"%q\"\n}}", "\"abc\""),
        ("{ {.S} }", "{ {.S} }"),
    ]);
}

#[test]
fn variables() {
    prints(&[
        ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}{{if true}}{{$x = 3}}{{$x := 4}}{{$x}}{{end}}{{$x}}", "1243"),
        ("{{$x:=1}}{{$x}}{{$x=2}}{{$x}}", "12"),
        ("{{if $x := .S}}{{$x}}{{else}}{{$x}}{{end}}", "abc"),
        ("{{with $x := .Nope}}{{else}}{{$x}}{{end}}", "<no value>"),
        ("{{with $v := .M}}{{$v.a}}{{.c}}{{end}}", "bd"),
        ("{{$x := 0}}{{range $x = .LI}}{{end}}{{$x}}", "3"),
        ("{{$x := .Null}}{{$x.Y}}", "<no value>"),
        ("{{$.S}}{{range .L}}{{$.I}}{{end}}", "abc555"),
        ("{{$m := .M}}{{$m.sub.x}}", "1"),
    ]);
    fails(&[
        ("{{$y}}", "1:3: there is no variable $y"),
        ("{{$x = 1}}", "1:3: there is no variable $x to assign to"),
        ("{{$x, $y := 1}}", "1:7: unexpected $y in action: one variable and := are wanted"),
        ("{{range $k, $v := .M}}{{end}}{{$k}}", "1:32: there is no variable $k"),
        ("{{range $a, $b, $c := .L}}{{end}}", "1:15: unexpected , in range: := is wanted"),
        ("{{$x := $x}}", "1:9: there is no variable $x"),
    ]);
}

#[test]
fn loops_and_choices() {
    prints(&[
        ("{{range .L}}{{.}},{{else}}none{{end}}", "a,b,c,"),
        ("{{range .E}}x{{else}}1{{end}}{{range .Nope}}x{{else}}2{{end}}{{range .Null}}x{{else}}3{{end}}", "123"),
        (
            "{{range $i, $v := .L}}{{if eq $i 1}}{{continue}}{{end}}{{$i}}{{if eq $i 2}}{{break}}{{end}}{{$v}}{{end}}",
            "0a2",
        ),
        ("{{range .L}}{{range $.LI}}{{.}}{{break}}{{end}}{{continue}}x{{end}}", "111"),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}x{{else}}none{{end}}", "01201none"),
        ("{{range $i := .L}}{{$i}}{{end}}{{range $i, $e := .LI}}{{$i}}{{$e}}{{end}}", "abc011223"),
        ("{{range split \"a,b\" \",\"}}{{.}};{{end}}", "a;b;"),
        ("{{if .S}}a{{else if .I}}b{{else}}c{{end}}", "a"),
        ("{{if .Nope}}a{{else if .E}}b{{else if .I}}c{{else}}d{{end}}", "c"),
        ("{{with .Nope}}a{{else with .S}}{{.}}{{else}}c{{end}}", "abc"),
        ("{{with .Nope}}a{{else}}{{.S}}{{end}}", "abc"),
        ("{{if 0}}x{{end}}{{if 0.0}}x{{end}}{{if \"\"}}x{{end}}{{if .EL}}x{{end}}{{if .F}}y{{end}}", "y"),
        (
            "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .S}}{{template \"t\"}}{{block \"b\" .I}}[{{.}}]{{end}}",
            "<abc><<no value>>[5]",
        ),
        ("{{define \"r\"}}{{with .sub}}{{template \"r\" .}}{{else}}{{.x}}{{end}}{{end}}{{template \"r\" .M}}", "1"),
    ]);
    fails(&[
        ("{{range .S}}x{{end}}", "1:9: range over a string"),
        ("{{range .F}}x{{end}}", "1:9: range over a number"),
        ("{{break}}", "1:1: break outside of range"),
        ("{{if true}}{{continue}}{{end}}", "1:12: continue outside of range"),
        ("{{range .L}}{{define \"x\"}}{{end}}{{end}}", "1:13: define inside of another action"),
        ("{{range .L}}{{block \"x\" .}}{{break}}{{end}}{{end}}", "1:28: break outside of range"),
        ("{{define \"t\"}}{{end}}{{define \"t\"}}{{end}}", "1:22: there is a template of that name already"),
        ("{{template \"none\"}}", "1:1: there is no template \"none\""),
        ("{{template .S}}", "1:12: unexpected .S in template: a name in quotes is wanted"),
        ("a\n b{{end}}", "2:3: unexpected {{end}}"),
        ("{{else}}", "1:1: unexpected {{else}}"),
        ("{{if}}{{end}}", "1:5: a value is missing for if"),
        ("{{if true}}", "1:6: {{end}} is missing for this if"),
        ("{{if true}}{{else}}{{else}}{{end}}", "1:20: a second {{else}}: {{end}} is wanted"),
        ("{{range .L}}{{else if .S}}{{end}}", "1:20: unexpected if in else"),
        ("{{define \"t\"}}", "1:1: {{end}} is missing for this one"),
    ]);
}

#[test]
fn comparisons() {
    prints(&[
        ("{{eq .I 5}}{{eq .I 1 2 5}}{{eq .I 1 2}}{{eq .S \"abc\"}}{{eq .B true}}", "truetruefalsetruetrue"),
        ("{{eq 'a' 97}}{{eq .I 5.0}}{{eq .Big .Big}}", "truetruetrue"),
        (
            "{{eq .Nope \"x\"}}{{eq .Null nil}}{{eq .Nope .Null}}{{eq \"x\" .Nope}}{{eq .M nil}}",
            "falsetruetruefalsefalse",
        ),
        ("{{ne .S \"x\"}}{{ne .Nope \"x\"}}{{ne 1 1}}", "truetruefalse"),
        (
            "{{lt 1 2}}{{lt 2 1}}{{le 1 1}}{{gt 2 1}}{{ge 1 2}}{{lt \"a\" \"b\"}}{{lt .F 2.0}}{{ge 2 1.5}}",
            "truefalsetruetruefalsetruetruetrue",
        ),
        ("{{not .Nope}}{{not .I}}", "truefalse"),
        (
            "{{and .Nope 1}}|{{and 1 .S}}|{{or .Nope 1}}|{{or .Null .Nope}}|{{or \"\" 0}}",
            "<no value>|abc|1|<no value>|0",
        ),
        ("{{and 0 (index .L 99)}}{{or 1 (index .L 99)}}{{1 | and 2}}", "011"),
    ]);
    fails(&[
        ("{{eq .I \"5\"}}", "1:3: eq: an integer and a string cannot be compared"),
        ("{{eq .L .L}}", "1:3: eq: an array cannot be compared"),
        ("{{eq 1}}", "1:3: eq: there is nothing to compare with"),
        ("{{eq}}", "1:3: eq: 0 arguments, where at least 1 are wanted"),
        ("{{ne 1 2 3}}", "1:3: ne: 3 arguments, where 2 are wanted"),
        ("{{lt true false}}", "1:3: lt: a boolean and a boolean cannot be compared"),
        ("{{lt .Nope 1}}", "1:3: lt: null and an integer cannot be compared"),
        ("{{and}}", "1:3: and: 0 arguments, where at least 1 are wanted"),
    ]);
}

#[test]
fn functions() {
    prints(&[
        (
            "{{index .L 0}}|{{index .M \"sub\" \"x\"}}|{{index .M \"zz\"}}|{{index .S 0}}|{{index .L}}",
            "a|1|<no value>|97|[a b c]",
        ),
        (
            "{{slice .S 1 2}}|{{slice .S 1}}|{{slice .L 1}}|{{slice .L 0 1 2}}|{{slice .S}}|{{slice .S 3}}",
            "b|bc|[b c]|[a]|abc|",
        ),
        ("{{print 1 2 \"a\" 3 \"b\" \"c\" 4.5 nil}}", "1 2a3bc4.5 <nil>"),
        ("{{println 1 \"a\"}}{{println}}{{print}}", "1 a\n\n"),
        (
            "{{html \"<a b='c' d=\\\"e\\\">&\"}}|{{html .Nope}}|{{html .L}}",
            "&lt;a b=&#39;c&#39; d=&#34;e&#34;&gt;&amp;|&lt;no value&gt;|[a b c]",
        ),
        ("{{urlquery \"a b&c/é~-_.*\"}}|{{urlquery .I .S}}", "a+b%26c%2F%C3%A9~-_.%2A|5abc"),
        (
            "{{json .M}}|{{json .S}}|{{json .Nope}}|{{json nil}}|{{json .F}}|{{json \"<&>\"}}",
            r#"{"a":"b","c":"d","sub":{"x":1}}|"abc"|null|null|1.5|"<&>""#,
        ),
        (
            "{{lower \"ABÉß\"}}|{{upper \"abéß\"}}|{{title \"hello wORLD foo_bar x-y é\"}}",
            "abéß|ABÉß|Hello WORLD Foo_bar X-Y É",
        ),
        ("{{pad \"a\" 2 3}}|{{pad \"\" 2 2}}", "  a   |"),
        ("{{truncate \"abcdef\" 3}}|{{truncate \"ab\" 5}}|{{truncate \"aé\" 2}}", "abc|ab|a"),
        ("{{split \"abc\" \"\"}}|{{split \"\" \",\"}}|{{len (split \"\" \",\")}}", "[a b c]|[]|1"),
        ("{{join .LI \"-\"}}|{{join .Null \",\"}}|{{join .EL \",\"}}", "1-2-3||"),
        ("{{(index .Mounts 0).Type}}|{{(.M).a}}|{{(.M.sub).x}}|{{((.S))}}", "volume|b|1|abc"),
        ("{{.S|len}}|{{1 | print 2 | print 3}}", "3|32 1"),
    ]);
    fails(&[
        ("{{index .L 9}}", "1:3: index: 9 is out of range: there are 3"),
        ("{{index .L -1}}", "1:3: index: -1 is out of range: there are 3"),
        ("{{index .L \"a\"}}", "1:3: index: an array has no index that is a string"),
        ("{{index .M 1}}", "1:3: index: an object has no index that is an integer"),
        ("{{index .Null \"x\"}}", "1:3: index: null has no index that is a string"),
        ("{{slice .S 9}}", "1:3: slice: 9 is out of range: there are 3"),
        ("{{slice .S 0 9}}", "1:3: slice: 9 is out of range: there are 3"),
        ("{{slice .L 2 1}}", "1:3: slice: from 2 to 1 is out of order"),
        ("{{slice .L 0 3 2}}", "1:3: slice: from 0 to 3 is out of order"),
        ("{{slice .S 0 1 2}}", "1:3: slice: 3 indexes for a string"),
        ("{{slice .I 1}}", "1:3: slice: an integer cannot be sliced"),
        ("{{len .I}}", "1:3: len: an integer has no length"),
        ("{{truncate \"abc\" -1}}", "1:3: truncate: -1 is out of range"),
        ("{{pad \"a\" -1 2}}", "1:3: pad: -1 is out of range"),
        ("{{join .S \",\"}}", "1:3: join: an array is wanted, not a string"),
        ("{{lower .I}}", "1:3: lower: a string is wanted, not an integer"),
        ("{{lower .Nope}}", "1:3: lower: a string is wanted, not what is not there"),
        ("{{lower}}", "1:3: lower: 0 arguments, where 1 are wanted"),
        ("{{printf 5}}", "1:3: printf: a string is wanted, not an integer"),
    ]);
}

#[test]
fn what_is_no_template() {
    fails(&[
        ("{{.S.X}}", "1:5: can't evaluate field X in a string"),
        ("{{.Null.X}}", "1:8: can't evaluate field X in null"),
        ("{{.Mounts.Type}}", "1:10: can't evaluate field Type in an array"),
        ("é{{(index .L 0).x}}", "1:16: can't evaluate field x in a string"),
        ("{{foo}}", "1:3: there is no function foo"),
        ("{{}}", "1:3: a value is missing for action"),
        ("{{.S", "1:1: the action is not closed: }} is missing"),
        ("{{", "1:1: the action is not closed: }} is missing"),
        ("{{\"abc}}", "1:3: the string is not closed: \" is missing"),
        ("{{`abc}}", "1:3: the raw string is not closed: ` is missing"),
        (r#"{{"a\'b"}}"#, "1:3: no such escape in a string"),
        (r#"{{"\xff"}}"#, "1:3: the string is not UTF-8"),
        (r#"{{"\400"}}"#, "1:3: no such escape in a string"),
        (r#"{{"\ud800"}}"#, "1:3: no such escape in a string"),
        ("{{'ab'}}", "1:3: no character constant such as 'a' or '\\n'"),
        ("{{''}}", "1:3: no character constant such as 'a' or '\\n'"),
        ("{{/* c", "1:1: the comment is not closed"),
        ("{{/* c */ 1}}", "1:10: a comment must be all that is in its {{ }}"),
        ("{{nil}}", "1:3: nil is no command"),
        ("{{true 1}}", "1:3: this is no function and takes no arguments"),
        ("{{.S 1}}", "1:3: S is no function and takes no arguments"),
        ("{{1 | .S}}", "1:7: S is no function and takes no arguments"),
        ("{{\"a\" | \"b\"}}", "1:9: what follows a | must be a function"),
        ("{{.S | }}", "1:8: a value is missing for |"),
        ("{{| .S}}", "1:3: a value is missing for action"),
        ("{{.M.a-b}}", "1:7: '-' is not expected here"),
        ("{{.S!}}", "1:5: '!' is not expected here"),
        ("{{#}}", "1:3: '#' is not expected here"),
        ("{{.S.}}", "1:5: unexpected . in a term: a blank is wanted before it"),
        ("{{..S}}", "1:4: unexpected .S after what has no fields"),
        ("{{1 .S.X}}", "1:3: this is no function and takes no arguments"),
        ("{{(.S}}", "1:4: ( is not closed"),
        ("{{.S)}}", "1:5: unexpected ) in action"),
        ("{{()}}", "1:4: a value is missing for ( )"),
        ("{{print(1)}}", "1:8: unexpected ( in a term: a blank is wanted before it"),
        ("{{\"a\"\"b\"}}", "1:6: unexpected \"b\" in a term: a blank is wanted before it"),
        ("{{1.5.5}}", "1:6: unexpected 0.5 in a term: a blank is wanted before it"),
        ("{{08}}", "1:3: 08: not a number"),
        ("{{1__0}}", "1:3: 1__0: not a number"),
        ("{{0x}}", "1:3: 0x: not a number"),
        ("{{3-}}", "1:4: -: not a number"),
        ("{{1e999}}", "1:3: 1e999: too large a number"),
        ("{{99999999999999999999}}", "1:3: 99999999999999999999: too large an integer"),
        ("{{1i}}", "1:3: 1i: complex numbers are not supported"),
        ("{{ /* c */ }}", "1:4: '/' is not expected here"),
    ]);
    let hint = |template| Template::parse(template, 0).err().and_then(|fault| fault.hint);
    assert!(hint("{{.Labels.a-b}}").is_some_and(|hint| hint.contains("{{index .Labels")));
    assert_eq!(hint("{{.Labels.a!b}}"), None);
}

#[test]
fn labels_of_rows() {
    let rows = [json!({"ID": "1"})];
    let labels = json!({"com.x-y": "v", "a": ""});
    let row = |template: &str, labels| {
        let template = Template::parse(template, 0).expect("valid");
        template.execute(&rows[0], &Purpose::Row { known: &["ID"], rows: &rows, labels }).map_err(|fault| fault.what)
    };
    for (template, expected) in [
        ("{{.Label \"com.x-y\"}}.", "v."),
        ("{{.Label \"none\"}}{{.Label \"a\"}}.", "."),
        ("{{if .Label \"com.x-y\"}}yes{{end}}", "yes"),
    ] {
        assert_eq!(row(template, Some(&labels)).as_deref(), Ok(expected), "{template}");
    }
    assert_eq!(
        row("{{.Label}}", Some(&labels)),
        Err("can't evaluate field Label: there is none of that name".to_owned())
    );
    assert_eq!(row("{{.Label 1}}", Some(&labels)), Err("Label: one key is wanted".to_owned()));
    assert_eq!(row("{{.Label \"a\" \"b\"}}", Some(&labels)), Err("Label: one key is wanted".to_owned()));
    assert_eq!(row("{{.Label \"a\"}}", None), Err("Label: nothing here has labels".to_owned()));
    let template = Template::parse("{{.Label \"com.x-y\"}}|{{.ID}}", 0).expect("valid");
    assert_eq!(template.headings(&json!({"ID": "CONTAINER ID"})), "x y|CONTAINER ID");
}

#[test]
fn fields_of_rows() {
    let rows = [json!({"ID": "1", "Extra": "e", "Labels": {"k": "v"}}), json!({"ID": "2", "Names": "web"})];
    let known = ["ID", "Size"];
    let row = |template: &str| {
        let template = Template::parse(template, 0).expect("valid");
        template.execute(&rows[0], &Purpose::Row { known: &known, rows: &rows, labels: None })
    };
    for (template, expected) in [
        ("{{.id}} {{.Extra}}", "1 e"),
        ("{{.Size}} {{.size}} {{.Names}}", "<no value> <no value> <no value>"),
        ("{{.Labels.k}} {{.Labels.none}}", "v <no value>"),
    ] {
        assert_eq!(row(template).map_err(|fault| fault.what), Ok(expected.to_owned()), "{template}");
    }
    let fault = row("{{.ID}} {{.Nmaes}}").expect_err("no such field");
    assert_eq!(fault.message("{{.ID}} {{.Nmaes}}"), "1:11: can't evaluate field Nmaes: there is none of that name");
    assert_eq!(fault.hint.as_deref(), Some("the fields are ID, Size"));
}

#[test]
fn headings_stay_as_they_are() {
    let headings = json!({"ID": "IMAGE ID", "Names": "NAMES"});
    for (template, expected) in [
        ("{{.ID}}\\t{{.Names}}", "IMAGE ID\tNAMES"),
        (
            "{{json .ID}} {{lower .Names}} {{truncate .ID 3}} {{split .ID \" \"}} {{join .Names \",\"}}",
            "IMAGE ID NAMES IMAGE ID IMAGE ID NAMES",
        ),
        ("{{pad .ID 1 2}}{{upper .Nope}}", " IMAGE ID  <no value>"),
        ("{{.ID}} {{range .Names}}{{end}} {{.Names}}", "IMAGE ID "),
    ] {
        assert_eq!(Template::parse(template, 0).expect("valid").headings(&headings), expected, "{template}");
    }
}
