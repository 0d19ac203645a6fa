//! Templates that want to end the program, or keep it.

use super::{data, run};

fn refused(template: &str, said: &str) {
    let error = run(template, &data()).expect_err(&template[..template.len().min(60)]);
    assert!(error.contains(said), "{error}");
}

#[test]
fn nesting() {
    let nested = |open: &str, middle: &str, close: &str, depth| open.repeat(depth) + middle + &close.repeat(depth);
    for (open, middle, close) in [
        ("{{if .S}}", "", "{{end}}"),
        ("{{range $.L}}", "", "{{end}}"),
        ("{{with $.S}}", "x", "{{end}}"),
        ("{{if .Nope}}{{else}}", "x", "{{end}}"),
    ] {
        assert!(run(&nested(open, middle, close, 5), &data()).is_ok(), "{open}");
        refused(&nested(open, middle, close, 100_000), "more than 100 actions and parentheses");
        refused(&open.repeat(100_000), "more than 100 actions and parentheses");
    }
    assert_eq!(run(&format!("{{{{{}}}}}", nested("(", "1", ")", 100)), &data()).as_deref(), Ok("1"));
    refused(&format!("{{{{{}}}}}", nested("(", "1", ")", 100_000)), "more than 100 actions and parentheses");
    refused(&format!("{{{{{}}}}}", "(print ".repeat(100_000)), "more than 100");
    refused(&("{{if .Nope}}".to_owned() + &"{{else if .Nope}}".repeat(100_000) + "{{end}}"), "more than 100");
    let blocks: String = (0..1000).map(|number| format!("{{{{block \"{number}\" .}}}}")).collect();
    refused(&blocks, "more than 100");
}

#[test]
fn recursion() {
    refused(r#"{{define "t"}}{{template "t" .}}{{end}}{{template "t" .}}"#, "more than 200 templates");
    // As deep as a template may be, again and again: as much of a thread's stack as there can be.
    let calls = "{{with .}}".repeat(90) + "{{template \"t\" .}}" + &"{{end}}".repeat(90);
    refused(&format!("{{{{define \"t\"}}}}{calls}{{{{end}}}}{{{{template \"t\" .}}}}"), "more than 200");
    // Not deep, but 2^60 calls.
    let mut template = String::from("{{define \"t0\"}}x{{end}}");
    for number in 1..=60 {
        let below = number - 1;
        template += &format!(
            "{{{{define \"t{number}\"}}}}{{{{template \"t{below}\"}}}}{{{{template \"t{below}\"}}}}{{{{end}}}}"
        );
    }
    refused(&(template + "{{template \"t60\"}}"), "too many steps");
}

#[test]
fn much_text_and_many_steps() {
    for template in [
        "{{range 9223372036854775807}}{{end}}",
        "{{range 100000}}{{range 100000}}{{end}}{{end}}",
        "{{pad \"a\" 9223372036854775807 9223372036854775807}}",
        "{{pad \"a\" 1000000000 0}}",
        "{{$x := \"0123456789\"}}{{range 64}}{{$x = print $x $x}}{{end}}",
        "{{$x := \"0123456789\"}}{{range 64}}{{$x = printf \"%s%s\" $x $x}}{{end}}",
        "{{$x := \"<<<<<<<<<<\"}}{{range 64}}{{$x = html $x $x}}{{end}}",
        "{{$x := pad \"a\" 10000000 0}}{{range 1000}}{{upper $x | len}}{{end}}",
        "{{$x := pad \"a\" 10000000 0}}{{split $x \"\" | len}}",
        "{{$x := pad \"a\" 10000000 0}}{{join (split $x \"aaaa\") $x}}{{join (split (truncate $x 1000) \"\") $x}}",
        "{{range 10000}}{{printf \"%10000d%10000d\" 1 2}}{{end}}",
        "{{range 10000}}{{printf \"%10000v\" $}}{{end}}",
    ] {
        refused(template, "too much text, or takes too many steps");
    }
}

#[test]
fn long_templates() {
    let long = "{{.S}}".repeat(100_000);
    assert_eq!(run(&long, &data()).map(|text| text.len()), Ok(300_000));
    let pipes = format!("{{{{.S{}}}}}", " | print".repeat(100_000));
    assert_eq!(run(&pipes, &data()).as_deref(), Ok("abc"));
    let words = format!("{{{{print{}}}}}", " 1".repeat(100_000));
    assert_eq!(run(&words, &data()).map(|text| text.len()), Ok(199_999));
    let fields = format!("{{{{.Nope{}}}}}", ".X".repeat(100_000));
    assert_eq!(run(&fields, &data()).as_deref(), Ok("<no value>"));
    refused(&"{{$x := 1}}{{$y}}".repeat(50_000), "there is no variable $y");
}

/// xorshift64 (Marsaglia 2003): the same templates in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{if ",
    "{{else}}",
    "{{else if ",
    "{{end}}",
    "{{range ",
    "{{with ",
    "{{break}}",
    "{{continue}}",
    "{{define \"t\"}}",
    "{{template \"t\" .}}",
    "{{block \"b\" .}}",
    "{{/* c */}}",
    "{{/*",
    "*/}}",
    ".",
    ".S",
    ".I",
    ".F",
    ".L",
    ".M",
    ".Null",
    ".Nope",
    ".Mounts",
    ".M.sub.x",
    "$",
    "$x",
    "$x := ",
    "$x = ",
    "$k, $v := ",
    "$.L",
    "(",
    ")",
    " | ",
    ", ",
    " ",
    " ",
    " ",
    "\n",
    "\\t",
    "\\n",
    "text",
    "é",
    "日本",
    "\u{301}",
    "\u{0}",
    "1",
    "0",
    "-1",
    "-",
    "+",
    "1.5",
    "1e3",
    "0x",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "\"s\"",
    "\"é日\"",
    "\"\"",
    "\"%",
    "%*d\"",
    "%[1]v",
    "\"%5.3s|%-05d|%+q|%x\"",
    "\"%v %#v %T %U %c %e %g\"",
    "`raw`",
    "`",
    "'a'",
    "'",
    "\\",
    "nil",
    "true",
    "false",
    "and ",
    "or ",
    "not ",
    "len ",
    "index ",
    "slice ",
    "print ",
    "printf ",
    "println ",
    "html ",
    "urlquery ",
    "eq ",
    "ne ",
    "lt ",
    "ge ",
    "json ",
    "join ",
    "split ",
    "lower ",
    "upper ",
    "title ",
    "pad ",
    "truncate ",
];

#[test]
fn random_templates_end() {
    let data = data();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut executed, mut printed) = (0, 0);
    for _ in 0..50_000 {
        let mut template = String::new();
        for _ in 0..random.below(12) {
            // Every other piece within an action of its own, or few templates could be read.
            let piece = PIECES[random.below(PIECES.len())];
            if random.below(2) == 0 && !piece.contains("{{") {
                let more = PIECES[random.below(PIECES.len())];
                template += &format!("{{{{{piece} {more}}}}}");
            } else {
                template += piece;
            }
        }
        if let Ok(text) = run(&template, &data) {
            executed += 1;
            printed += usize::from(text != template);
        }
    }
    // That most are wrong is no proof of anything.
    assert!(executed > 1000 && printed > 500, "{executed} {printed}");
}

#[test]
fn every_call_ends() {
    let data = data();
    let terms =
        [".S", ".I", "-1", ".F", ".B", ".Null", ".Nope", ".L", ".M", ".EL", "\"é\"", "9223372036854775807", "0"];
    let names =
        PIECES.iter().filter(|piece| piece.ends_with(' ') && super::super::functions::name(piece.trim()).is_some());
    let mut printed = 0;
    for name in names {
        for one in terms {
            for two in terms {
                for three in ["", ".I", "-1", ".L", ".S"] {
                    printed += usize::from(run(&format!("{{{{{name}{one} {two} {three}}}}}"), &data).is_ok());
                    printed += usize::from(run(&format!("{{{{{one} | {name} {three}}}}}"), &data).is_ok());
                }
            }
        }
    }
    assert!(printed > 1000, "{printed}");
}

#[test]
fn a_template_cut_anywhere_ends() {
    let whole = "a{{- /* c */ -}}{{$x := .M}}{{range $k, $v := $x}}{{if eq $k \"a\" `c`}}{{printf \"%-5q|%[1]*d\" $v 3 | \
                 upper}}{{else if (len .L | lt 2)}}{{(index .L 0).x}}{{continue}}{{end}}{{else}}{{'\\n'}}é{{end}}\
                 {{define \"t\"}}{{.}}{{end}}{{template \"t\" .S}}{{block \"b\" 1.5}}{{end}}";
    for (from, _) in whole.char_indices() {
        for (to, _) in whole.char_indices().filter(|(to, _)| *to > from) {
            let _ = run(&whole[from..to], &data());
        }
    }
}
