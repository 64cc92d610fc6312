// The command line of orchd.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace orch {

struct Options {
  std::string config;  // absolute; the installation's unless it is given
  std::vector<std::pair<std::string, std::string>> labels;
  std::string inspect;  // absolute; empty: not asked for
  bool check = false;
  bool json = false;  // with `check` and `inspect`
};

// Prints what is wrong, how it is used, or the version, and ends the process then.
Options parseOptions(int argc, char** argv);

}  // namespace orch
