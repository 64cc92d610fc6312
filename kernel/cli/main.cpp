// orch: the command line of a cluster.
#include <stdlib.h>

#include "program.h"

int main(int argc, char** argv) {
  kj::Vector<kj::String> words;
  for (int i = 1; i < argc; ++i) words.add(kj::str(argv[i]));
  const char* host = getenv("ORCH_HOST");
  return orch::cli::runProgram(kj::mv(words), host == nullptr ? "" : host);
}
