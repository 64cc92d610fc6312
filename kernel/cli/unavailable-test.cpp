// Words of docker's that orch does not have.
#include "unavailable.h"

#include <catch2/catch.hpp>

#include <string>

#include "commands.h"
#include "orch/attempt.h"
#include "recording-server.h"

namespace orch::cli {
namespace {

kj::Array<kj::String> wordsIn(std::string text) {
  kj::Vector<kj::String> words;
  while (!text.empty()) {
    auto space = text.find(' ');
    words.add(kj::str(text.substr(0, space).c_str()));
    text.erase(0, space == std::string::npos ? space : space + 1);
  }
  return words.releaseAsArray();
}

TEST_CASE("cli: docker's words are answered with the word that does it here", "[cli]") {
  RecordingServer server;
  auto check = [&](std::vector<std::string> words, const std::string& text) {
    auto ran = server.run(words);
    CHECK(ran.status == 2);
    CHECK(ran.out == "");
    CHECK(ran.errors == "orch: '" + text + "\n");
  };
  check({"ps", "-a"}, "orch ps' is 'orch task ls' here; of one service: 'orch service ps SERVICE'");
  check({"container", "ls"},
        "orch ps' is 'orch task ls' here; of one service: 'orch service ps SERVICE'");
  check({"container", "stats"}, "orch container stats' is 'orch stats' here");
  check({"container", "top", "web"}, "orch container top' is 'orch task top TASK' here");
  check({"attach", "web.1"}, "orch attach' is 'orch task attach TASK' here");
  check({"images"}, "orch images' is 'orch image ls' here");
  check({"container", "exec", "web", "sh"}, "orch exec' is 'orch task exec TASK COMMAND' here");
  check({"stack", "deploy"}, "orch stack deploy' is not available yet");
  check({"stop", "--help"},
        "orch stop' is 'orch service scale SERVICE=0' here; 'orch service rm SERVICE' ends it for "
        "good");
  for (std::string word : {"run", "logs", "attach", "pull", "rmi", "inspect", "swarm", "secret",
                           "system prune", "config create"}) {
    INFO(word);
    CHECK(unavailableCommand(wordsIn(word)).size() > 0);
  }
  CHECK(unavailableCommand(wordsIn("service")).size() == 0);
  CHECK(unavailableCommand(wordsIn("")).size() == 0);
}

TEST_CASE("cli: every command that an answer names is there, and none is answered so", "[cli]") {
  for (auto command : allCommands()) {
    INFO(command->path);
    CHECK(unavailableCommand(wordsIn(command->path)).size() == 0);
  }
  size_t named = 0;
  for (kj::StringPtr answer : answersOfCommands()) {
    std::string text = answer.cStr();
    for (size_t at = 0; (at = text.find("'orch ", at)) != std::string::npos;) {
      auto words = text.substr(at + 6, text.find('\'', at + 1) - at - 6);
      at += words.size();
      INFO(words);
      CHECK(attemptNow([&] { return findCommand(wordsIn(words)).command; }).ok());
      ++named;
    }
  }
  CHECK(named > 20);
}

TEST_CASE("cli: flags of docker run are answered with those of a service", "[cli]") {
  RecordingServer server;
  for (auto [flag, answer] : std::vector<std::pair<std::string, std::string>>{
           {"-v", "'-v' is --mount type=bind,"},
           {"--restart", "'--restart' is --restart-condition here"},
           {"-m", "'-m' is --limit-memory here"},
           {"--rollback", "'--rollback' is 'orch service rollback SERVICE' here"}}) {
    auto ran = server.run({"service", "create", flag, "x", "nginx"});
    CHECK(ran.status == 2);
    CHECK(ran.errors.rfind("orch: " + answer, 0) == 0);
  }
}

}  // namespace
}  // namespace orch::cli
