// What is refused, where it says that it is wrong, and what may not go on for ever.
#include <catch2/catch.hpp>

#include "language/testing/test-world.h"

namespace orch::integration::templates {
namespace {

struct Refusal {
  const char* text;
  const char* error;  // without the angle brackets
};

template <size_t N>
void checkRefusals(const Refusal (&all)[N]) {
  for (auto& one : all) {
    INFO(one.text);
    CHECK(rendered(one.text) == "<" + std::string(one.error) + ">");
  }
}

TEST_CASE("language: what is no template names its place", "[template]") {
  constexpr Refusal ALL[] = {
      {"a\nb {{", "t:2:3: the action has no end: '}}' is missing"},
      {"{{/* x }}", "t:1:1: the comment has no end: '*/' is missing"},
      {"{{if true}}\n{{if 1}}x{{end}}", "t:1:1: {{end}} is missing"},
      {"x{{end}}", "t:1:2: {{end}} without a beginning"},
      {"{{else}}", "t:1:1: {{else}} without a beginning"},
      {"{{nosuch 1}}", "t:1:3: there is no function 'nosuch'"},
      {"{{toUper `a`}}", "t:1:3: there is no function 'toUper'; did you mean 'toUpper'?"},
      {"{{$x}}", "t:1:3: there is no variable '$x'"},
      {"{{if true}}{{$x := 1}}{{end}}{{$x}}", "t:1:32: there is no variable '$x'"},
      {"{{}}", "t:1:3: a value is missing in the action"},
      {"{{if}}{{end}}", "t:1:5: a value is missing in if"},
      {"{{1 |}}", "t:1:6: a value is missing in the action"},
      {"{{(1}}", "t:1:5: a ')' is missing"},
      {"{{1)}}", "t:1:4: a ')' has no '('"},
      {"{{1 | 2}}", "t:1:7: what follows '|' has to be a function"},
      {"{{`a`}", "t:1:6: '}' is not understood here"},
      {"{{\"a}}", "t:1:3: the text in quotes has no end"},
      {"{{\"\\q\"}}", "t:1:3: what stands in quotes has a '\\' that means nothing"},
      {"{{1x}}", "t:1:3: '1x' is no number"},
      {"{{eq 1`a`}}", "t:1:7: '`a`' is not expected here"},
      {"{{#}}", "t:1:3: '#' is not understood here"},
      {"{{break}}", "t:1:1: {{break}} outside of a {{range}}"},
      {"{{if true}}{{define `x`}}{{end}}{{end}}", "t:1:12: {{define}} stands in no other block"},
      {"{{define `x`}}a{{end}}{{define `x`}}b{{end}}", "t:1:23: the template 'x' is defined twice"},
      {"{{range $a, $b, $c := 1}}{{end}}", "t:1:15: too many variables in range"},
      {"{{template x}}", "t:1:12: the name of a template, in quotes, is missing after template"},
      {"{{if 1}}{{end x}}", "t:1:15: 'x' is not expected in end"},
  };
  checkRefusals(ALL);
}

TEST_CASE("language: what goes wrong names its place", "[template]") {
  constexpr Refusal ALL[] = {
      {"a\n  {{index (split `,` `a`) 3}}", "t:2:5: index: there is no index 3, of 1"},
      {"{{eq 1 `a`}}", "t:1:3: eq: int and string cannot be compared"},
      {"{{eq (parseJSON `[]`) 1}}", "t:1:3: eq: a value of type []interface {} cannot be compared"},
      {"{{lt true false}}", "t:1:3: lt: bool and bool have no order"},
      {"{{toUpper 1}}", "t:1:3: toUpper wants a text as argument 1, not int"},
      {"{{toUpper `a` `b`}}", "t:1:3: toUpper wants 1 argument, not 2"},
      {"{{toUpper}}", "t:1:3: toUpper wants 1 argument, not 0"},
      {"{{loop}}", "t:1:3: loop wants at least 1 argument, not 0"},
      {"{{nil}}", "t:1:3: nil alone means nothing"},
      {"{{1 2}}", "t:1:3: arguments are given to what is no function"},
      {"{{template `x`}}", "t:1:1: there is no template 'x'"},
      {"{{range `abc`}}{{end}}", "t:1:1: range cannot go through abc, which is string"},
      {"{{(parseJSON `{}`).a.b}}", "t:1:3: what stands before '.b' is nil"},
      {"{{$x := `a`}}{{$x.y}}", "t:1:16: there is no field 'y' in string"},
      {"{{parseJSON `{`}}", "t:1:3: parseJSON: no JSON: what is at byte 2 does not belong there"},
      {"{{parseInt `x`}}", "t:1:3: parseInt: 'x' is no such number"},
      {"{{divide 0 1}}", "t:1:3: divide: a division by 0"},
      {"{{modulo 0 1}}", "t:1:3: modulo: a division by 0"},
      {"{{regexMatch `(` `a`}}", "t:1:3: regexMatch: '(' is no regular expression: missing ): ("},
      {"{{mustEnv `NONE`}}", "t:1:3: mustEnv: the environment variable 'NONE' is empty"},
      {"{{len 1}}", "t:1:3: len: a value of type int has no length"},
      {"{{$x = 1}}", "t:1:3: there is no variable '$x'"},
      {"{{scratch.Nothing}}",
       "t:1:3: Nothing: scratch has Key, Get, Set, SetX, MapSet, MapSetX and MapValues only"},
  };
  checkRefusals(ALL);
}

TEST_CASE("language: a key that is missing can be an error", "[template]") {
  TestWorld world;
  RenderOptions options;
  options.failsOnMissingKey = true;
  CHECK(rendered("{{with parseJSON `{\"a\":1}`}}{{.b}}{{end}}", world, options) ==
        "<t:1:31: the map has no key 'b'>");
}

TEST_CASE("language: what goes on for ever, too deep or too wide is refused", "[template]") {
  constexpr Refusal ALL[] = {
      {"{{range loop 9223372036854775807}}{{end}}",
       "t:1:1: it takes too many steps: does it loop for ever?"},
      {"{{define `x`}}{{template `x`}}{{end}}{{template `x`}}",
       "t:1:15: there is too much in each other: templates that call themselves?"},
      {"{{range loop 100000}}{{sprig_repeat 1000 `x`}}{{end}}", "t:1:22: too much comes of it"},
      {"{{sprig_repeat 9223372036854775807 `xx`}}", "t:1:3: sprig_repeat: it makes too much text"},
      {"{{$x := `x`}}{{range loop 100}}{{$x = print $x $x}}{{end}}",
       "t:1:39: it makes too much text"},
      {"{{$x := 1}}{{range loop 1000}}{{$x = sprig_list $x}}{{end}}",
       "t:1:38: too many lists and maps in each other"},
      {"{{range loop 100000}}{{printf `%9999d` 1}}{{end}}", "t:1:22: too much comes of it"},
  };
  checkRefusals(ALL);
  std::string brackets(1000, '('), blocks, json(1000, '[');
  CHECK(rendered("{{" + brackets + "1" + std::string(1000, ')') + "}}") ==
        "<t:1:203: there is too much in each other>");
  for (int i = 0; i < 1000; ++i) blocks += "{{if true}}";
  CHECK(rendered(blocks).find("there is too much in each other") != std::string::npos);
  CHECK(rendered("{{parseJSON `" + json + "`}}") ==
        "<t:1:3: parseJSON: JSON with too many lists and maps in each other>");
}

}  // namespace
}  // namespace orch::integration::templates
