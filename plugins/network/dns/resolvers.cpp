#include "resolvers.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include <set>

#include "orch/fail.h"

namespace orch::network::dns {

namespace {
std::vector<Server> serversOf(const std::vector<std::string>& texts) {
  std::vector<Server> servers;
  for (auto& text : texts) {
    auto server = parseServer(text);
    if (!server) {
      fail(kj::str("'", text.c_str(),
                   "' cannot be a name server of a task: it must be an address such as 10.0.0.1 or "
                   "fd00::1"));
    }
    if (!isOurs(*server)) servers.push_back(*server);
  }
  return servers;
}
}  // namespace

Resolvers::Resolvers(Env& env, Log log, const ServerSettings& settings)
    : env(env),
      log(kj::mv(log)),
      mailbox(env.eventPort()),
      thread(settings, [this](const char* id, kj::String reason) {
        mailbox.post([this, id, reason = kj::mv(reason)]() mutable { warn(id, kj::mv(reason)); });
      }) {}

void Resolvers::warn(const char* id, kj::String reason) {
  auto untold = limit.admit(id, env.timer().now());
  if (!untold) return;
  log.warn(id, {{"reason", reason}, {"untold", *untold}});
}

Task<void> Resolvers::update(schema::NetworkChange::Reader change) {
  auto copy = kj::heap<capnp::MallocMessageBuilder>();
  copy->setRoot(change);
  auto applying = [copy = kj::mv(copy)](AnsweringServer& server) mutable {
    server.update(copy->getRoot<schema::NetworkChange>().asReader());
  };
  auto applied = thread.run(kj::mv(applying));
  co_await applied;
}

Task<void> Resolvers::serve(std::string taskId, std::string path, std::vector<std::string> networks,
                            std::vector<std::string> servers, bool closed) {
  TaskNames names{kj::mv(networks), serversOf(servers), closed};
  auto turn = co_await turns.take(taskId);
  auto opening = env.workers().run([path] { return openNamespace(path.c_str()); });
  auto inside = co_await opening;
  auto id = idOf(inside);
  auto known = served.find(taskId);
  if (known != served.end() && known->second == id) {
    auto changing = [taskId, names](AnsweringServer& server) { server.change(taskId, names); };
    co_await thread.run(kj::mv(changing));
    co_return;
  }
  if (known != served.end()) co_await close(taskId);
  auto making = env.workers().run(
      [inside = kj::mv(inside)]() mutable { return openTaskEnd(kj::mv(inside)); });
  auto end = co_await making;
  auto starting = [&](AnsweringServer& server) {
    server.serve(taskId, kj::mv(end), kj::mv(names));
  };
  co_await thread.run(kj::mv(starting));
  served.insert_or_assign(taskId, id);
}

Task<void> Resolvers::close(std::string taskId) {
  auto releasing = [taskId](AnsweringServer& server) { return server.release(taskId); };
  auto inside = co_await thread.run(kj::mv(releasing));
  served.erase(taskId);
  KJ_IF_MAYBE (handle, inside) {
    auto removing = env.workers().run([handle = kj::mv(*handle)] { removeRules(handle.get()); });
    co_await removing;
  }
}

Task<void> Resolvers::release(std::string taskId) {
  auto turn = co_await turns.take(taskId);
  co_await close(taskId);
}

Task<void> Resolvers::retain(std::vector<std::string> taskIds) {
  std::set<std::string> kept(taskIds.begin(), taskIds.end());
  kj::Vector<kj::Promise<void>> releases;
  std::vector<std::string> gone;
  for (auto& [taskId, id] : served) {
    if (kept.count(taskId) == 0) gone.push_back(taskId);
  }
  for (auto& taskId : gone) releases.add(release(taskId));
  co_await kj::joinPromises(releases.releaseAsArray());
}

Task<Findings> Resolvers::check(bool repair) {
  std::vector<std::string> taskIds;
  for (auto& [taskId, id] : served) taskIds.push_back(taskId);
  Findings all;
  for (auto& taskId : taskIds) {
    auto found = co_await checkOne(taskId, repair);
    all.add(found);
  }
  if (repair && !all.empty()) {
    log.warn("network.repaired", {{"things", kj::str(all.all().size())}});
  }
  co_return kj::mv(all);
}

Task<Findings> Resolvers::checkOne(std::string taskId, bool repair) {
  auto turn = co_await turns.take(taskId);
  auto asking = [taskId](AnsweringServer& server) { return server.earOf(taskId); };
  auto ear = co_await thread.run(kj::mv(asking));
  Findings findings;
  KJ_IF_MAYBE (one, ear) {
    auto looking = env.workers().run([taskId, ear = kj::mv(*one), repair] {
      auto led = [&] { return leadsTo(ear.inside, ear.udpPort, ear.tcpPort); };
      auto word = [](bool there) { return there ? "in place"_kj : "not all in place"_kj; };
      auto object = kj::str("rules for names of task ", taskId.c_str());
      bool well = led();
      Findings found, left;
      found.compare(object, word(true), word(well));
      if (well || !repair) return found;
      leadTo(ear.inside, ear.udpPort, ear.tcpPort);
      left.compare(object, word(true), word(led()));
      found.repairedBut(left);
      return found;
    });
    findings = co_await looking;
  }
  co_return kj::mv(findings);
}

}  // namespace orch::network::dns
