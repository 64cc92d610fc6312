// What users write of nodes and of services: swarm mode's `node.role==worker`, classic Swarm's
// globs and regular expressions, and both, put together.
//
//   KEY == VALUE    also `=`; `!=` for all others. Without regard to case. A value is a text with
//   `*`
//                   for anything, /a regular expression/ (RE2, found anywhere in it), or for
//                   node.ip an address or a CIDR.
//   KEY in (A, B)   also `not in`; one of several values
//   KEY < VALUE     `<=`, `>`, `>=`: numbers, or sizes such as 16g; what is neither is not met
//   KEY exists      also `not exists`
//   A && B, A || B, ( … )   `&&` binds closer
//
// A value with spaces at its ends, or with `&&`, `||`, `,` or `)` in it, stands in '…' or "…". What
// is not there counts as an empty text.
#pragma once

#include <kj/function.h>
#include <kj/string.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace orch::filter {

// How refusals speak of it.
struct Dialect {
  kj::StringPtr noun;  // "constraint"
  kj::StringPtr key;   // one that there is
};

class Expression final {
 public:
  static constexpr size_t MAX_LENGTH = 1024;

  // Fails with `usage: …` that names the column of what is wrong.
  static Expression parse(std::string_view text, const Dialect& dialect);

  // `lookUp`: what there is of a key; empty if nothing.
  using LookUp = kj::FunctionParam<std::string(std::string_view key)>;
  bool isMetBy(LookUp lookUp) const;
  // All that it asks for, in order, each once.
  std::vector<std::string> keys() const;
  // It is no more than `KEY != VALUE`, `not in` or `not exists`.
  bool isNegated() const;
  // One of those is in it.
  bool hasNegation() const;
  // If it is no more than `KEY==VALUE`, without anything in the value that stands for others.
  bool isPlain(std::string& key, std::string& value) const;

  struct Term;  // in expression.cpp

 private:
  explicit Expression(std::shared_ptr<const Term> root) : root(std::move(root)) {}
  std::shared_ptr<const Term> root;
};

}  // namespace orch::filter
