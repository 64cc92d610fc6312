// What a template prints: the language itself. Each row is a template and what Go makes of it.
#include <catch2/catch.hpp>

#include "language/testing/test-world.h"

namespace orch::integration::templates {
namespace {

struct Row {
  const char* text;
  const char* printed;
};

template <size_t N>
void checkRows(const Row (&rows)[N]) {
  for (auto& row : rows) {
    INFO(row.text);
    CHECK(rendered(row.text) == row.printed);
  }
}

TEST_CASE("language: text, white space and comments", "[template]") {
  constexpr Row ROWS[] = {
      {"", ""},
      {"plain } } { text", "plain } } { text"},
      {"a {{- 1}} b", "a1 b"},
      {"a {{1 -}} b", "a 1b"},
      {"a \n\t {{- 1 -}} \r\n b", "a1b"},
      {"{{-1}}", "-1"},
      {"{{- -1 -}}", "-1"},
      {"a{{/* no */}}b", "ab"},
      {"a {{- /* no */ -}} b", "ab"},
      {"a {{/* two\nlines */}} b", "a  b"},
      {"{{\n1\n}}", "1"},
      {"{{1}}{{2}}", "12"},
      {"x{{- /* */ -}}\n\ny", "xy"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: literals are written as in Go", "[template]") {
  constexpr Row ROWS[] = {
      {"{{1}} {{-2}} {{+3}} {{0x1F}} {{0o17}} {{017}} {{0b101}} {{1_000}}",
       "1 -2 3 31 15 15 5 1000"},
      {"{{1.5}} {{.5}} {{1e3}} {{1e6}} {{123456.0}} {{1e-5}} {{1.0}}",
       "1.5 0.5 1000 1e+06 123456 1e-05 1"},
      {"{{'a'}} {{'\\n'}} {{'\\''}} {{'ä'}}", "97 10 39 228"},
      {"{{true}} {{false}}", "true false"},
      {R"({{"a\tb\"c\\ \x41 \u00e4 \101"}})", "a\tb\"c\\ A ä A"},
      {"{{`a\\n\"b`}}", "a\\n\"b"},
      {"{{`two\nlines`}}", "two\nlines"},
      {"{{.}}", "<no value>"},
      {"{{print nil}}", "<nil>"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: pipelines and brackets", "[template]") {
  constexpr Row ROWS[] = {
      {R"({{"a" | printf "%s-%s" "b"}})", "b-a"},
      {R"({{"a" | toUpper | printf "%q"}})", "\"A\""},
      {R"({{printf "%d" (len "abc")}})", "3"},
      {R"({{(printf "%d" 7)}})", "7"},
      {R"({{print (1) (2) "a" 3}})", "1 2a3"},
      {R"({{println 1 "a"}})", "1 a\n"},
      {R"({{(parseJSON `{"a":{"b":2}}`).a.b}})", "2"},
      {R"({{1|print}})", "1"},
      {R"({{((1))}})", "1"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: variables end with their block", "[template]") {
  constexpr Row ROWS[] = {
      {"{{$x := 1}}{{$x}}", "1"},
      {"{{$x := 1}}{{$x = 2}}{{$x}}", "2"},
      {"{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"},
      {"{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"},
      {"{{if $x := 3}}{{$x}}{{end}}", "3"},
      {"{{if $x := 0}}a{{else}}{{$x}}{{end}}", "0"},
      {"{{with $x := 4}}{{$x}}{{.}}{{end}}", "44"},
      {"{{$x := parseJSON `{\"a\":[1,2]}`}}{{index $x.a 1}}", "2"},
      {"{{$}}", "<no value>"},
      {"{{$sum := 0}}{{range loop 4}}{{$sum = add $sum .}}{{end}}{{$sum}}", "6"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: if and with", "[template]") {
  constexpr Row ROWS[] = {
      {"{{if true}}a{{end}}", "a"},
      {"{{if false}}a{{end}}", ""},
      {"{{if 0}}a{{else}}b{{end}}", "b"},
      {"{{if 0.0}}a{{else}}b{{end}}", "b"},
      {"{{if \"\"}}a{{else}}b{{end}}", "b"},
      {"{{if `x`}}a{{else}}b{{end}}", "a"},
      {"{{if .}}a{{else}}b{{end}}", "b"},
      {"{{if split `,` ``}}a{{else}}b{{end}}", "b"},
      {"{{if parseJSON `{}`}}a{{else}}b{{end}}", "b"},
      {"{{if 0}}a{{else if 1}}b{{else}}c{{end}}", "b"},
      {"{{if 0}}a{{else if 0}}b{{else if 1}}c{{end}}d", "cd"},
      {"{{with `x`}}{{.}}{{end}}", "x"},
      {"{{with ``}}{{.}}{{else}}none{{end}}", "none"},
      {"{{with ``}}a{{else with `y`}}{{.}}{{end}}", "y"},
      {"{{if loop 0}}a{{end}}", "a"},
      {"{{if not true}}a{{else}}b{{end}}", "b"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: range goes through lists, maps and numbers", "[template]") {
  constexpr Row ROWS[] = {
      {"{{range split `,` `a,b,c`}}<{{.}}>{{end}}", "<a><b><c>"},
      {"{{range $e := split `,` `a,b`}}{{$e}};{{end}}", "a;b;"},
      {"{{range $i, $e := split `,` `a,b`}}{{$i}}={{$e}};{{end}}", "0=a;1=b;"},
      {"{{range split `,` ``}}a{{else}}none{{end}}", "none"},
      {"{{range .}}a{{else}}none{{end}}", "none"},
      {"{{range $k, $v := parseJSON `{\"b\":1,\"a\":2}`}}{{$k}}{{$v}} {{end}}", "a2 b1 "},
      {"{{range loop 3}}{{.}}{{end}}", "012"},
      {"{{range $i := loop 5 8}}stanza-{{$i}}\n{{end}}", "stanza-5\nstanza-6\nstanza-7\n"},
      {"{{range loop `2`}}{{.}}{{end}}", "01"},
      {"{{range loop 3 1}}a{{else}}none{{end}}", "none"},
      {"{{range 3}}{{.}}{{end}}", "012"},
      {"{{range loop 9}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}", "012"},
      {"{{range loop 5}}{{if eq . 3}}{{continue}}{{end}}{{.}}{{end}}", "0124"},
      {"{{range loop 2}}{{range loop 9}}{{if eq . 1}}{{break}}{{end}}x{{end}}y{{end}}", "xyxy"},
      {"{{$i := 7}}{{range $i = loop 2}}{{end}}{{$i}}", "1"},
      {"{{range $i, $x := loop 4 6}}{{$i}}:{{$x}} {{end}}", "0:4 1:5 "},
      {"{{with `d`}}{{range loop 2}}{{$}}{{.}}{{end}}{{end}}", "<no value>0<no value>1"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: templates in templates", "[template]") {
  constexpr Row ROWS[] = {
      {"{{define `x`}}[{{.}}]{{end}}{{template `x` 1}}{{template `x` `b`}}", "[1][b]"},
      {"{{template `x`}}{{define `x`}}late {{.}}{{end}}", "late <no value>"},
      {"a{{block `x` 5}}<{{.}}>{{end}}b{{template `x` 6}}", "a<5>b<6>"},
      {"{{define `x`}}{{$}}{{end}}{{$y := 1}}{{template `x` 2}}{{$y}}", "21"},
      {"{{define `x`}}{{if gt . 0}}{{.}}{{template `x` (subtract 1 .)}}{{end}}{{end}}{{template "
       "`x` 3}}",
       "321"},
      {"{{define `x`}}a {{.}}{{end}}{{executeTemplate `x` 4 | toUpper}}", "A 4"},
      {"{{define `x`}}it{{end}}{{$v := executeTemplate `x`}}{{$v}}{{$v}}", "itit"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: truth and order", "[template]") {
  constexpr Row ROWS[] = {
      {"{{and 1 0 2}} {{and 1 2}} {{or 0 `` 3}} {{or 0 ``}}|{{not 0}}", "0 2 3 |true"},
      {"{{or 1 (index (split `,` ``) 3)}}", "1"},
      {"{{and 0 (index (split `,` ``) 3)}}", "0"},
      {"{{0 | or 5}} {{0 | and 5}}", "5 0"},
      {"{{eq 1 1}} {{eq 1 2}} {{eq `a` `b` `a`}} {{ne 1 2}}", "true false true true"},
      {"{{lt 1 2}} {{le 2 2}} {{gt 2 1}} {{ge 1 2}} {{lt `a` `b`}} {{lt 1.5 2.5}}",
       "true true true false true true"},
      {"{{eq (parseUint `1`) 1}} {{lt -1 (parseUint `1`)}}", "true true"},
      {"{{eq . nil}} {{eq . 1}}", "true false"},
      {"{{eq true true}}", "true"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: fields, indexes and slices", "[template]") {
  constexpr Row ROWS[] = {
      {"{{with parseJSON `{\"a\":{\"b\":[1,2,3]}}`}}{{.a.b}} {{index .a.b 0}} {{index . `a` `b` "
       "2}}{{end}}",
       "[1 2 3] 1 3"},
      {"{{with parseJSON `{\"a\":1}`}}{{.x}} {{index . `x`}}{{end}}", "<no value> <no value>"},
      {"{{.x.y}}", "<no value>"},
      {"{{slice `abcdef` 1 3}} {{slice `abc` 1}} {{slice `abc`}}", "bc bc abc"},
      {"{{slice (split `,` `a,b,c`) 1 2}}", "[b]"},
      {"{{len `äb`}} {{len (split `,` `a,b`)}} {{len (parseJSON `{\"a\":1}`)}}", "3 2 1"},
      {"{{index `abc` 1}}", "98"},
      {"{{(splitToMap `,` `:` `a:1,b:2`).b}}{{(splitToMap `,` `:` `a:1`).zz}}|", "2|"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: values as they are printed", "[template]") {
  constexpr Row ROWS[] = {
      {"{{split `,` `a,b`}}", "[a b]"},
      {"{{parseJSON `{\"b\":[1,true,null,\"x\"],\"a\":1.5}`}}", "map[a:1.5 b:[1 true <nil> x]]"},
      {"{{parseJSON `1234567`}} {{parseJSON `123456`}} {{parseJSON `1e21`}}",
       "1.234567e+06 123456 1e+21"},
      {"{{printf `%5d|%-5d|%05d|%x|%X|%o|%b|%c|%U|%+d` 42 42 42 255 255 8 5 97 97 7}}",
       "   42|42   |00042|ff|FF|10|101|a|U+0061|+7"},
      {"{{printf `%s %q %v %x %10s|%-4s|%.2s` `a` `b` `c` `hi` `r` `l` `cut`}}",
       "a \"b\" c 6869          r|l   |cu"},
      {"{{printf `%f %.2f %e %g %8.3f` 1.5 2.345 1500.0 0.1 3.14159}}",
       "1.500000 2.35 1.500000e+03 0.1    3.142"},
      {"{{printf `%t %v %T %T %T` true false 1 `a` 1.5}}", "true false int string float64"},
      {"{{printf `%d` `x`}} {{printf `%s` 1}}", "%!d(string=x) %!s(int=1)"},
      {"{{printf `%d`}} {{printf `a` 1}} {{printf `%`}} {{printf `%!`}}",
       "%!d(MISSING) a%!(EXTRA int=1) %!(NOVERB) %!!(MISSING)"},
      {"{{printf `%d%%` 5}} {{printf `%*d` 4 7}}", "5%    7"},
      {"{{printf `%v %d` (split `,` `a,b`) (parseJSON `[]`)}}", "[a b] []"},
      {"{{printf `%q` (split `,` `a,b`)}}", "[\"a\" \"b\"]"},
      {"{{html `<a href=\"x\">&'</a>`}}", "&lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt;/a&gt;"},
      {"{{html .}} {{html 1 `<` 2}}", "&lt;no value&gt; 1&lt;2"},
      {"{{js `it's <b>`}}", "it\\'s \\u003Cb\\u003E"},
      {"{{urlquery `a b&c/ä`}}", "a+b%26c%2F%C3%A4"},
  };
  checkRows(ROWS);
}

TEST_CASE("language: other delimiters", "[template]") {
  TestWorld world;
  auto tree = parse("t", "{{a}} << if true ->> x << end >>", {"<<", ">>"});
  CHECK(render(tree, world) == "{{a}} x ");
}

}  // namespace
}  // namespace orch::integration::templates
