//! Expected is what Go 1.19 prints.

use super::{fails, prints};

#[test]
fn integers() {
    prints(&[
        (
            r#"{{printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%X" 42 42 42 42 42 42 -255 -255}}"#,
            "42|   42|42   |00042|+42| 42|-ff|-FF",
        ),
        (r#"{{printf "%b %o %O %#x %#o %#b" 5 8 8 255 8 5}}"#, "101 10 0o10 0xff 010 0b101"),
        (
            r#"{{printf "%.3d|%8.3d|%-8.3d|%08.3d|%.0d|%+03d|% 05d" 7 7 7 7 0 7 7}}"#,
            "007|     007|007     |     007||+07| 0007",
        ),
        (r#"{{printf "%c|%3c|%q|%U|%#U" 65 65 128512 0x1F600 0x41}}"#, "A|  A|'😀'|U+1F600|U+0041 'A'"),
        (r#"{{printf "%v|%4v|%#v" .I .I .I}}"#, "5|   5|5"),
        (r#"{{printf "%d" .Big}}"#, "9007199254740993"),
    ]);
}

#[test]
fn floats() {
    prints(&[
        (
            r#"{{printf "%f|%.2f|%8.3f|%-8.2f|%08.2f|%+.1f" 1.5 3.14159 2.5 2.5 -2.5 2.5}}"#,
            "1.500000|3.14|   2.500|2.50    |-0002.50|+2.5",
        ),
        (r#"{{printf "%e|%E|%.1e|%.0f" 123.456 123.456 0.00012 2.5}}"#, "1.234560e+02|1.234560E+02|1.2e-04|2"),
        (
            r#"{{printf "%g|%g|%G|%.3g|%#g|%.10g|%.3g" 100000.0 1e21 1e21 1234.5678 1.0 1000000.0 0.0}}"#,
            "100000|1e+21|1E+21|1.23e+03|1.00000|1000000|0",
        ),
        (r#"{{printf "%v|%6v|%6.2f%%" 1.5 1.5 12.345}}"#, "1.5|   1.5| 12.35%"),
    ]);
}

#[test]
fn strings() {
    prints(&[
        (
            r#"{{printf "%5s|%-5s|%.2s|%5.1s|%05s|%s" "ab" "ab" "abc" "abc" "ab" "%d"}}"#,
            "   ab|ab   |ab|    a|000ab|%d",
        ),
        (r#"{{printf "%.3s|%.10s|%4s" "日本語x" "日本語x" "日本"}}"#, "日本語|日本語x|  日本"),
        (
            r#"{{printf "%x|%X|%#x|% x|%# x|%.1x" "hi" "hi" "hi" "hi" "hi" "hi"}}"#,
            "6869|6869|0x6869|68 69|0x68 0x69|68",
        ),
        (
            r#"{{printf "%q|%+q|%#q|%#q|%.2q|%5q" "a\"b\n\u00e9\x00\u200b" "é😀" "a" "a`b" "abc" "a"}}"#,
            "\"a\\\"b\\né\\x00\\u200b\"|\"\\u00e9\\U0001f600\"|`a`|\"a`b\"|\"ab\"|  \"a\"",
        ),
        (r#"{{printf "%t|%5t|%-6t|%v" true false true .B}}"#, "true|false|true  |true"),
    ]);
}

#[test]
fn lists_and_maps() {
    prints(&[
        (
            r#"{{printf "%s|%q|%v|%d|%03d" .L .L .L .LI .LI}}"#,
            "[a b c]|[\"a\" \"b\" \"c\"]|[a b c]|[1 2 3]|[001 002 003]",
        ),
        (
            r#"{{printf "%s|%q|%v" .M .M.sub .M}}"#,
            "map[a:b c:d sub:map[x:%!s(int=1)]]|map[\"x\":'\\x01']|map[a:b c:d sub:map[x:1]]",
        ),
        (
            r#"{{printf "%#v|%#v|%#v|%#v" .M .L .S .Mixed}}"#,
            "map[string]interface {}{\"a\":\"b\", \"c\":\"d\", \"sub\":map[string]interface {}{\"x\":1}}|[]interface {}{\"a\", \"b\", \"c\"}|\"abc\"|map[string]interface {}{\"l\":[]interface {}{1, interface {}(nil)}, \"n\":interface {}(nil)}",
        ),
        (
            r#"{{printf "%T %T %T %T %T %T %T" .M .L .S .I .F true nil}}"#,
            "map[string]interface {} []interface {} string int float64 bool <nil>",
        ),
        (
            r#"{{printf "%v %s %v" .Mixed .Mixed .Null}}"#,
            "map[l:[1 <nil>] n:<nil>] map[l:[%!s(int=1) <nil>] n:<nil>] <nil>",
        ),
        (r#"{{printf "%+v" .M}}"#, "map[a:b c:d sub:map[x:1]]"),
    ]);
}

#[test]
fn indexes_and_stars() {
    prints(&[
        (r#"{{printf "%*d|%-*d|%.*f|%*d" 5 1 5 1 2 3.14159 -3 7}}"#, "    1|1    |3.14|7  "),
        (r#"{{printf "%[2]d %[1]d|%[3]d|%[x]d" 1 2}}"#, "2 1|%!d(BADINDEX)|%!d(BADINDEX)"),
        (
            r#"{{printf "%[1]s %[1]q" "a"}}|{{printf "%[2]*[1]d" 7 4}}|{{printf "%[1]*d" 3}}"#,
            "a \"a\"|   7|%!d(MISSING)",
        ),
        (r#"{{printf "%*d" "a" 1}}|{{printf "%.*d" -1 5}}"#, "%!(BADWIDTH)1|%!(BADPREC)5"),
    ]);
}

#[test]
fn what_does_not_fit() {
    prints(&[
        (
            r#"{{printf "%d" "x"}}|{{printf "%s" 5}}|{{printf "%d"}}|{{printf "%z" 1}}|{{printf "%"}}|{{printf "%!" 3}}"#,
            "%!d(string=x)|%!s(int=5)|%!d(MISSING)|%!z(int=1)|%!(NOVERB)|%!!(int=3)",
        ),
        (
            r#"{{printf "a" 1 nil}}|{{printf "%s %v" true "x" "extra"}}"#,
            "a%!(EXTRA int=1, <nil>)|%!s(bool=true) x%!(EXTRA string=extra)",
        ),
        (
            r#"{{printf "%s|%d" nil .Null}}|{{printf "%t|%f" 1 1}}|{{printf "%d" 1.0}}"#,
            "%!s(<nil>)|%!d(<nil>)|%!t(int=1)|%!f(int=1)|%!d(float64=1)",
        ),
        (
            r#"{{printf "%[" 1}}|{{printf "%[1]" 1}}|{{printf "%-" 1}}|{{printf "%%"}}"#,
            "%!(NOVERB)|%!(NOVERB)|%!(NOVERB)%!(EXTRA int=1)|%",
        ),
        (r#"{{printf "%#t" "k"}}"#, "%!t(string=k)"),
    ]);
    let wide = "1:3: printf: a width or precision above 10000";
    fails(&[
        (r#"{{printf "%10001d" 1}}"#, wide),
        (r#"{{printf "%.99999999999999999999999f" 1.0}}"#, wide),
        (r#"{{printf "%*d" 10001 1}}"#, wide),
        (r#"{{printf "%.*f" -9223372036854775808 1.0}}"#, wide),
    ]);
}
