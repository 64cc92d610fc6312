#include "exec-process.h"

#include <capnp/message.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "checked-request.h"
#include "orch/fail.h"
#include "runner.h"
#include "runner/protocol.h"

namespace orch::runtime {

namespace {

using Variables = std::vector<std::string>;

bool hasVariable(const Variables& environment, const std::string& entry) {
  return std::find(environment.begin(), environment.end(), entry) != environment.end();
}

// Somebody else, with what the container lets him have.
void becomeUser(nlohmann::json& process, Variables& environment, kj::StringPtr user,
                const UserFiles& files) {
  capnp::MallocMessageBuilder none;
  auto noGroups = none.initRoot<capnp::List<capnp::Text>>(0).asReader();
  auto ids = resolveUser(files.passwd, files.group, user, noGroups);
  auto own = std::to_string(process.at("user").at("uid").get<uint32_t>());
  auto ownHome = resolveUser(files.passwd, files.group, own.c_str(), noGroups).home;
  // One that was not given to the container, but found for its user.
  if (hasVariable(environment, "HOME=" + ownHome)) {
    setVariable(environment, ("HOME=" + ids.home).c_str());
  }
  process["user"] = {{"uid", ids.uid}, {"gid", ids.gid}, {"additionalGids", ids.groups}};
  auto& capabilities = process["capabilities"];
  auto held = ids.uid == 0 ? capabilities.at("bounding") : nlohmann::json::array();
  capabilities["effective"] = held;
  capabilities["permitted"] = held;
}

}  // namespace

std::string oneProgramProcess(const std::string& config, schema::Program::Reader program,
                              const UserFiles& files) {
  auto process = nlohmann::json::parse(runnerProcess(config));
  auto environment = process.at("env").get<Variables>();
  auto user = program.getUser();
  mustBeText("the user", user);
  if (user.size() > 0) becomeUser(process, environment, user, files);
  if (program.getTerminal()) {
    bool known = std::any_of(environment.begin(), environment.end(),
                             [](auto& entry) { return entry.compare(0, 5, "TERM=") == 0; });
    if (!known) setVariable(environment, "TERM=xterm");
  }
  for (auto entry : program.getEnv()) {
    mustBeText(kj::str("env '", entry.cStr(), "'"), entry);
    if (entry.size() == 0 || entry[0] == '=') {
      fail(kj::str("env '", entry, "' has no name: write KEY=value"));
    }
    setVariable(environment, entry);
  }
  process["env"] = environment;
  auto workdir = program.getWorkdir();
  mustBeText("the working directory", workdir);
  if (workdir.size() > 0) {
    if (workdir[0] != '/') {
      fail(kj::str("working directory '", workdir, "' is not an absolute path"));
    }
    process["cwd"] = normalPath(workdir);
  }
  auto& arguments = process["args"];
  arguments.insert(arguments.begin() + 1, RUNNER_ONE_PROGRAM);
  return process.dump();
}

}  // namespace orch::runtime
