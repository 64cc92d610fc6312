// consul-template's functions: a template and what it prints.
#include <catch2/catch.hpp>

#include "language/testing/test-world.h"

namespace orch::integration::templates {
namespace {

struct Case {
  const char* text;
  const char* printed;
};

template <size_t N>
void checkCases(const Case (&cases)[N]) {
  for (auto& one : cases) {
    INFO(one.text);
    CHECK(rendered(one.text) == one.printed);
  }
}

TEST_CASE("functions: texts are changed, split and searched", "[template]") {
  constexpr Case CASES[] = {
      {"{{toLower `ABC Ä`}} {{toUpper `abc ä`}} {{toTitle `some words_here o'clock`}}",
       "abc ä ABC Ä Some Words_here O'clock"},
      {"[{{trimSpace ` a\t\n`}}] [{{`!!a!` | trim `!`}}] [{{`abc` | trimPrefix `ab`}}] [{{`abc` | "
       "trimSuffix `bc`}}]",
       "[a] [a] [c] [a]"},
      {"{{`a.b.c` | replaceAll `.` `_`}} {{replaceAll `` `-` `ab`}}", "a_b_c -a-b-"},
      {"{{`foo.bar` | regexMatch `foo([.a-z]+)`}} {{regexMatch `^x` `foo`}}", "true false"},
      {"{{`foo.bar` | regexReplaceAll `foo([.a-z]+)` `$1`}}", ".bar"},
      {"{{regexReplaceAll `(?P<a>\\w)(\\w)` `${2}${a}$$$x` `abcd`}}", "ba$dc$"},
      {"{{regexReplaceAll `x*` `-` `abxd`}}", "-a-b-d-"},
      {"{{split `,` ` a,b, ` | join `;`}} {{split `` `abc`}}", "a;b; [a b c]"},
      {"{{split `\\n` `` | len}}", "0"},
      {"{{indent 2 `a\n\nb`}}", "  a\n\n  b"},
      {"{{env `CLUSTER`}} [{{env `NONE`}}] {{envOrDefault `NONE` `d`}} [{{envOrDefault `EMPTY` "
       "`d`}}]",
       "Lab [] d []"},
      {"{{or (env `EMPTY`) `12`}} {{mustEnv `CLUSTER` | toLower}}", "12 lab"},
      {"{{timestamp}} {{timestamp `unix`}} {{timestamp `2006-01-02`}}",
       "2009-11-10T23:00:00Z 1257894000 2009-11-10"},
      {"{{timestamp `Mon Jan _2 15:04:05.000 MST 2006, Monday 3:04PM (002) -07:00 Janus`}}",
       "Tue Nov 10 23:00:00.123 UTC 2009, Tuesday 11:00PM (314) +00:00 Janus"},
  };
  checkCases(CASES);
}

TEST_CASE("functions: numbers are read and computed with", "[template]") {
  constexpr Case CASES[] = {
      {"{{add 1 2}} {{subtract 2 5}} {{multiply 2 2}} {{divide 2 10}} {{modulo 2 5}}", "3 3 4 5 1"},
      {"{{5 | subtract 2}} {{10 | divide 4}} {{minimum 2 5}} {{maximum 2 5}}", "3 2 2 5"},
      {"{{add 1.5 2}} {{divide 4 10.0}} {{multiply 2 0.5}}", "3.5 2.5 1"},
      {"{{parseInt `7` | add 1}} {{parseFloat `1.25`}} {{parseUint `3`}} {{parseInt ``}}",
       "8 1.25 3 0"},
      {"{{parseBool `true`}} {{parseBool `F`}} {{parseBool ``}}", "true false false"},
      {"{{add 9223372036854775807 1}} {{divide -1 -9223372036854775808}}",
       "-9223372036854775808 -9223372036854775808"},
  };
  checkCases(CASES);
}

TEST_CASE("functions: lists and maps", "[template]") {
  constexpr Case CASES[] = {
      {"{{in (split `,` `a,b`) `b`}} {{in `abc` `bc`}} {{`x` | in (split `,` `a,b`)}}",
       "true true false"},
      {"{{split `,` `a,b` | contains `a`}} {{in (parseJSON `[1,2]`) 1}}", "true false"},
      {"{{$a := split `,` `a,b`}}{{$l := split `,` `a,b,c`}}{{containsAll $a $l}} {{containsAny $a "
       "$l}} "
       "{{containsNone $a $l}} {{containsNotAll $a $l}}",
       "true true false false"},
      {"{{$e := split `,` ``}}{{containsAll $e $e}} {{containsAny $e $e}} {{containsNone $e $e}} "
       "{{containsNotAll $e $e}}",
       "true false true false"},
      {"{{scratch.Set `a` 1}}{{scratch.Get `a`}} {{scratch.Key `a`}} {{scratch.Key `b`}} "
       "{{scratch.Get `b`}}",
       "1 true false <no value>"},
      {"{{scratch.SetX `a` 1}}{{scratch.SetX `a` 2}}{{scratch.Get `a`}}", "1"},
      {"{{scratch.MapSet `m` `b` 1}}{{scratch.MapSet `m` `a` 2}}{{scratch.MapSetX `m` `a` 3}}"
       "{{scratch.MapValues `m`}} {{scratch.Get `m`}}",
       "[2 1] map[a:2 b:1]"},
      {"{{scratch.MapSet `e` `foo/bar` `a`}}{{scratch.MapSet `e` `foo/baz` `b`}}"
       "{{scratch.Get `e` | explodeMap | toJSON}}",
       "{\"foo\":{\"bar\":\"a\",\"baz\":\"b\"}}"},
      {"{{$a := parseJSON `{\"x\":1,\"m\":{\"p\":1}}`}}{{$b := parseJSON "
       "`{\"x\":2,\"y\":3,\"m\":{\"p\":5,\"q\":6}}`}}"
       "{{$b | mergeMap $a | toJSON}} {{$b | mergeMapWithOverride $a | toJSON}}",
       "{\"m\":{\"p\":1,\"q\":6},\"x\":1,\"y\":3} {\"m\":{\"p\":5,\"q\":6},\"x\":2,\"y\":3}"},
  };
  checkCases(CASES);
}

TEST_CASE("functions: other notations", "[template]") {
  constexpr Case CASES[] = {
      {"{{toJSON (split `,` `a,<b>`)}} {{toUnescapedJSON (split `,` `a,<b>`)}}",
       "[\"a\",\"\\u003cb\\u003e\"] [\"a\",\"<b>\"]"},
      {"{{parseJSON `{\"b\":{\"c\":[1,2.5,1e30]},\"a\":null}` | toJSON}}",
       "{\"a\":null,\"b\":{\"c\":[1,2.5,1e+30]}}"},
      {"{{parseJSON `{\"b\":{\"c\":[1]},\"a\":{},\"d\":[]}` | toJSONPretty}}",
       "{\n  \"a\": {},\n  \"b\": {\n    \"c\": [\n      1\n    ]\n  },\n  \"d\": []\n}"},
      {"{{`a\"\\\n\t` | toJSON}}", "\"a\\\"\\\\\\n\\t\""},
      {"{{base64Encode `hello`}} {{base64Decode `aGVsbG8=`}}", "aGVsbG8= hello"},
      {"{{base64URLEncode `a?>~`}} {{base64URLDecode `YT8-fg==`}}", "YT8-fg== a?>~"},
      {"{{sha256Hex `bladibla`}}",
       "54cf4c66bcabb5c20e25331c01dd600b73369e97a947861bd8d3a0e0b8b3d70b"},
      {"{{md5sum `myString`}}", "91c65b6feeb5a6ad66b30e2ebd9405e1"},
      {"{{parseJSON ``}}", "map[]"},
  };
  checkCases(CASES);
}

TEST_CASE("functions: YAML and TOML are written", "[template]") {
  constexpr Case CASES[] = {
      {"{{parseJSON `{\"maxconns\":\"5\",\"minconns\":\"2\",\"admin\":{\"port\":\"1234\"}}` | "
       "toYAML}}",
       "admin:\n  port: \"1234\"\nmaxconns: \"5\"\nminconns: \"2\""},
      {"{{parseJSON `{\"a10\":[1,\"x\",[2,3],{\"k\":true,\"l\":null}],\"a2\":{},\"b\":[]}` | "
       "toYAML}}",
       "a2: {}\na10:\n- 1\n- x\n- - 2\n  - 3\n- k: true\n  l: null\nb: []"},
      {"{{parseJSON `[\"\",\"yes\",\"a: b\",\"- x\",\"it's "
       "#1\",\"tab\\t\",\"two\\nlines\\n\",\"1.5\",\"2020-01-02\"]` "
       "| toYAML}}",
       "- \"\"\n- \"yes\"\n- 'a: b'\n- '- x'\n- 'it''s #1'\n- \"tab\\t\"\n- |\n  two\n  lines\n- "
       "\"1.5\"\n"
       "- \"2020-01-02\""},
      {"{{parseJSON `{\"text\":\"a\\n\\n b\"}` | toYAML}}", "text: |-\n  a\n\n   b"},
      {"{{toYAML `x`}} {{toYAML 5}}", "x 5"},
      {"{{parseJSON "
       "`{\"maxconns\":\"5\",\"admin\":{\"port\":\"1134\",\"in\":{\"x\":1}},\"l\":[1,2.5],\"t\":[{"
       "\"a\":1},{\"a\":2}]}` "
       "| toTOML}}",
       "l = [1.0, 2.5]\nmaxconns = \"5\"\n\n[admin]\n  port = \"1134\"\n\n  [admin.in]\n    x = "
       "1.0\n\n[[t]]\n  a = 1.0\n\n"
       "[[t]]\n  a = 2.0"},
      {"{{parseJSON `{\"a b\":\"q\\\"\\n\"}` | toTOML}}", "\"a b\" = \"q\\\"\\n\""},
      {"{{toTOML 5}}", "<t:1:3: toTOML: int cannot be written as TOML: it is no map>"},
  };
  checkCases(CASES);
}

TEST_CASE("functions: those of sprig", "[template]") {
  constexpr Case CASES[] = {
      {"{{sprig_upper `a`}} {{sprig_lower `A`}} {{sprig_title `a b`}} {{sprig_trim ` a `}}",
       "A a A B a"},
      {"{{sprig_repeat 3 `ab`}} {{sprig_trunc 2 `abc`}} {{sprig_trunc -2 `abc`}} {{sprig_substr 1 "
       "3 `abcd`}}",
       "ababab ab bc bc"},
      {"{{sprig_quote `a` 1}} {{sprig_squote `a`}} {{sprig_cat `a` 1 `b`}}",
       "\"a\" \"1\" 'a' a 1 b"},
      {"{{sprig_hasPrefix `a` `ab`}} {{sprig_hasSuffix `a` `ab`}} {{sprig_contains `b` `abc`}}",
       "true false true"},
      {"{{sprig_default `d` ``}} {{sprig_default `d` `x`}} {{sprig_ternary 1 2 true}} "
       "{{sprig_coalesce `` 0 3}}",
       "d x 1 3"},
      {"{{sprig_list 1 `a` | sprig_join `-`}} {{sprig_list 3 1 3 | sprig_uniq}} {{sprig_first "
       "(sprig_list 4 5)}}",
       "1-a [3 1] 4"},
      {"{{$d := sprig_dict `a` 1 `b` 2}}{{sprig_get $d `b`}} {{sprig_hasKey $d `c`}} {{sprig_keys "
       "$d}}",
       "2 false [a b]"},
      {"{{sprig_add 1 2 `3`}} {{sprig_sub 5 3}} {{sprig_mul 2 3 4}} {{sprig_div 7 2}} {{sprig_mod "
       "7 4}} "
       "{{sprig_max 1 9 3}} {{sprig_min 4 2}}",
       "6 2 24 3 3 9 2"},
      {"{{sprig_indent 2 `a\nb`}}{{sprig_nindent 1 `c`}}", "  a\n  b\n c"},
  };
  checkCases(CASES);
}

}  // namespace
}  // namespace orch::integration::templates
