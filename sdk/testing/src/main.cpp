#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>
#include <sstream>
#include <string>

// ORCH_WITHOUT names what this machine lacks ("netns cgroup"): tests with such a tag are left out.
int main(int argc, char** argv) {
  Catch::Session session;
  if (int status = session.applyCommandLine(argc, argv); status != 0) return status;
  if (const char* without = std::getenv("ORCH_WITHOUT")) {
    std::istringstream needs(without);
    for (std::string need; needs >> need;) {
      session.configData().testsOrTags.push_back("~[" + need + "]");
    }
  }
  return session.run();
}
