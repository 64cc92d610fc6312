// The words after a command, sorted into options and operands (by CLI11).
#pragma once

#include <kj/vector.h>

#include <string>
#include <vector>

#include "command.h"

namespace orch::cli {

// Options that every command takes unless it has one of that name itself.
kj::ArrayPtr<const Option> globalOptions();

class Arguments final {
 public:
  // Fails with `usage: …` on an unknown flag (with the nearest one), a missing value, and too few
  // or too many operands, unless --help is among the options. `words` are those after the command.
  Arguments(const Command& command, kj::ArrayPtr<const kj::String> words);

  const Command& command() const { return spec; }

  // All by any of an option's names; asking for one that the command does not have is a defect.
  bool given(kj::StringPtr name) const { return values(name).size() > 0; }
  bool on(kj::StringPtr name) const;             // a switch; `--name=false` is off
  kj::StringPtr text(kj::StringPtr name) const;  // the last one; empty if not given
  kj::ArrayPtr<const kj::String> values(kj::StringPtr name) const;  // all, in order
  kj::ArrayPtr<const kj::String> operands() const { return rest; }

  // Fails if a value or an operand is not UTF-8, as what is kept in the cluster has to be.
  void checkUtf8() const;

 private:
  struct Entry {
    const Option* option;
    kj::Vector<kj::String> values;
  };
  const Entry* find(kj::StringPtr name) const;
  void takeRemaining(const std::vector<std::string>& words);
  void checkOperands() const;

  const Command& spec;
  kj::Vector<Entry> entries;
  kj::Vector<kj::String> rest;
};

// The names of an option, `-e` and `--env`.
kj::Vector<kj::StringPtr> namesOf(const Option& option, kj::Vector<kj::String>& storage);
bool hasName(const Option& option, kj::StringPtr name);

}  // namespace orch::cli
