// When a file is written, and what for: time is the test's.
#include "runner.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "file-source.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"

namespace orch::integration::templates {
namespace {

// Answers every key with what the test says.
class SetKeys final : public Source {
 public:
  bool knows(const Query& query) const override { return query.kind == Query::Kind::KEY; }
  Task<void> follow(Query query, Listener& listener) override {
    listeners[query.name] = &listener;
    KJ_DEFER(listeners.erase(query.name));
    co_await kj::Promise<void>(kj::NEVER_DONE);
  }
  std::map<std::string, Listener*> listeners;
};

struct Bed {
  explicit Bed(const std::string& text) {
    mkdir(folder.path().cStr(), 0755);
    settings.source = folder.sub("in").cStr();
    settings.destination.path = folder.sub("out").cStr();
    std::ofstream(settings.source) << text;
    sources.add(&keys);
    sources.add(&files);
  }
  void start() {
    runner = kj::heap<Runner>(env, host, watches(), turns, std::make_shared<Variables>(), settings);
    running = runner->run().promise().eagerlyEvaluate(nullptr);
  }
  Watches& watches() {
    if (all.get() == nullptr) all = kj::heap<Watches>(kj::mv(sources));
    return *all;
  }
  std::string out() {
    std::ifstream file(settings.destination.path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*real, io.waitScope, what, kj::mv(reached));
  }
  void untilAsked(const std::string& key) {
    until("a key to be asked for", [&] { return keys.listeners.count(key) > 0; });
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> real = newSystemEnv(io);
  testing::HeldTime env{*real, io.waitScope};
  testing::TestFolder folder{"template-runner"};
  testing::TestHost testHost{"/nowhere", "/nowhere"};
  Host host{testHost.client(), NodeFacts()};
  SetKeys keys;
  FileSource files{env};
  kj::Vector<Source*> sources;
  TemplateSettings settings;
  Turns turns;
  kj::Own<Watches> all;
  kj::Own<Runner> runner;
  kj::Promise<void> running = nullptr;
};

TEST_CASE("template: nothing is written before all has been answered", "[template]") {
  Bed bed("{{key `a`}}{{if eq (key `a`) `x`}}{{key `b`}}{{end}}");
  bed.start();
  bed.untilAsked("a");
  bed.until("it to wait", [&] { return bed.runner->reason() == "waits for key 'a'"; });
  bed.keys.listeners["a"]->answered(Value("x"));
  bed.untilAsked("b");
  CHECK(bed.out().empty());
  bed.keys.listeners["b"]->answered(Value());
  bed.until("it to wait", [&] { return bed.runner->reason() == "waits for key 'b'"; });
  CHECK(bed.out().empty());
  bed.keys.listeners["b"]->answered(Value("y"));
  bed.until("the file", [&] { return bed.out() == "xy"; });
  // What it does not ask for any more is not watched either.
  bed.keys.listeners["a"]->answered(Value("z"));
  bed.until("the file", [&] { return bed.out() == "z"; });
  bed.until("the key to be left", [&] { return bed.keys.listeners.count("b") == 0; });
}

TEST_CASE("template: a change among a thousand answers costs one rendering", "[template]") {
  Bed bed("{{range loop 1000}}{{key (print `k` .)}}{{end}}");
  bed.start();
  bed.until("all to be asked for", [&] { return bed.keys.listeners.size() == 1000; });
  for (auto& [name, listener] : bed.keys.listeners) listener->answered(Value("a"));
  bed.until("the file", [&] { return bed.out() == std::string(1000, 'a'); });
  CHECK(bed.runner->renderings() == 1);
  bed.keys.listeners["k999"]->answered(Value("b"));
  bed.until("the file", [&] { return bed.out() == std::string(999, 'a') + "b"; });
  CHECK(bed.runner->renderings() == 2);
  bed.keys.listeners["k5"]->answered(Value("a"));
  CHECK(bed.runner->renderings() == 2);
}

TEST_CASE("template: a change waits for others, but not for ever", "[template]") {
  Bed bed("{{key `a`}}");
  bed.settings.waitMin = 5 * kj::SECONDS;
  bed.settings.waitMax = 12 * kj::SECONDS;
  bed.start();
  bed.untilAsked("a");
  auto answer = [&](const char* text) {
    auto before = bed.runner->renderings();
    bed.keys.listeners["a"]->answered(Value(text));
    bed.until("it to be rendered", [&] { return bed.runner->renderings() > before; });
  };
  answer("1");
  bed.env.advance(4 * kj::SECONDS);
  answer("2");
  bed.env.advance(4 * kj::SECONDS);
  answer("3");
  bed.env.advance(3 * kj::SECONDS);
  CHECK(bed.out().empty());
  bed.env.advance(1 * kj::SECONDS);
  bed.until("what came in 12 s", [&] { return bed.out() == "3"; });
  answer("4");
  bed.env.advance(4 * kj::SECONDS);
  CHECK(bed.out() == "3");
  bed.env.advance(1 * kj::SECONDS);
  bed.until("what nothing followed for 5 s", [&] { return bed.out() == "4"; });
}

}  // namespace
}  // namespace orch::integration::templates
