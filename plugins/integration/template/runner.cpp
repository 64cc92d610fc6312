#include "runner.h"

#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

constexpr kj::Duration FIRST_PLACE_RETRY = 1 * kj::SECONDS;
constexpr kj::Duration LAST_PLACE_RETRY = 30 * kj::SECONDS;
constexpr unsigned MOST_PLACE_DOUBLINGS = 5;

Query fileQuery(const std::string& path) {
  Query query;
  query.kind = Query::Kind::FILE;
  query.name = path;
  return query;
}

// Names for a log; not all of a thousand.
std::string listed(const std::set<Query>& queries) {
  constexpr size_t MOST_NAMED = 5;
  std::string out;
  size_t count = 0;
  for (auto& query : queries) {
    if (count++ == MOST_NAMED) break;
    out += (out.empty() ? "" : ", ") + query.text();
  }
  if (queries.size() > MOST_NAMED) {
    out += " and " + std::to_string(queries.size() - MOST_NAMED) + " more";
  }
  return out;
}

kj::Promise<std::shared_ptr<const Tree>> parseOn(Workers& workers, std::string name,
                                                 std::string text, Delimiters delimiters) {
  auto work = [name = std::move(name), text = std::move(text), delimiters]() {
    return std::shared_ptr<const Tree>(std::make_shared<Tree>(parse(name, text, delimiters)));
  };
  return workers.run(kj::mv(work));
}

}  // namespace

const Answers& Renderer::begin() {
  seen = user.changes();
  known = watches.answers();
  return *known;
}

Task<Rendered> Renderer::pass(std::shared_ptr<const Tree> tree, std::set<Query> also) {
  auto work = [tree, answers = known, variables = variables, now = env.nowNs(), options = options] {
    return renderWith(*tree, *answers, *variables, now, options);
  };
  auto rendered = co_await env.workers().run(kj::mv(work));
  missing = rendered.missing;
  beside = std::move(also);
  auto all = rendered.used;
  all.insert(beside.begin(), beside.end());
  user.want(std::move(all));
  co_return kj::mv(rendered);
}

void Renderer::waitFor(std::set<Query> queries) {
  beside.clear();
  missing = queries;
  user.want(std::move(queries));
}

bool Renderer::lacks(const Answers& answers) const {
  bool same = std::all_of(beside.begin(), beside.end(), [&](const Query& query) {
    auto before = known->find(query), after = answers.find(query);
    if (before == known->end() || after == answers.end()) return after == answers.end();
    return before->second == after->second;
  });
  return same && std::any_of(missing.begin(), missing.end(),
                             [&](const Query& query) { return answers.count(query) == 0; });
}

Task<void> Renderer::whenWorthwhile() {
  auto count = seen;
  auto problemBefore = problem();
  for (;;) {
    co_await user.whenChanged(count);
    count = user.changes();
    auto answers = watches.answers();
    bool lacking = lacks(*answers) && problem() == problemBefore;
    if (!lacking) co_return;
  }
}

Runner::Runner(Env& env, Host& host, Watches& watches, Turns& turns, SharedVariables variables,
               TemplateSettings settings)
    : env(env),
      host(host),
      settings(settings),
      source(fileQuery(settings.source)),
      renderer(env, watches, std::move(variables), settings.options),
      placing(env, turns, settings.destination) {}

std::string Runner::reason() const {
  if (now == State::FAILED) return problem;
  auto unanswered = renderer.problem();
  if (!unanswered.empty()) return unanswered;
  if (now == State::RENDERED) return {};
  return "waits for " + listed(renderer.waitsFor());
}

void Runner::failed(kj::StringPtr why) {
  now = State::FAILED;
  if (problem == why.cStr()) return;
  problem = why.cStr();
  host.log().warn("template.failed, the file stays as it is",
                  {{"destination", settings.destination.path.c_str()}, {"reason", why}});
}

Task<void> Runner::run() {
  std::string told;
  for (;;) {
    auto outcome = co_await attempt(once());
    bool again = outcome.ok() && outcome.value();
    if (again) continue;
    if (!outcome.ok()) failed(outcome.message());
    renderer.settled();
    auto unanswered = renderer.problem();
    if (!unanswered.empty() && unanswered != told) {
      host.log().warn("template.unanswered, keeps asking",
                      {{"template", settings.source.c_str()}, {"reason", unanswered.c_str()}});
    }
    told = unanswered;
    kj::Promise<void> next = renderer.whenWorthwhile();
    if (failures > 0) {
      auto pause = FIRST_PLACE_RETRY * (1 << std::min(failures - 1, MOST_PLACE_DOUBLINGS));
      next = next.exclusiveJoin(env.timer().afterDelay(kj::min(pause, LAST_PLACE_RETRY)));
    }
    co_await next;
  }
}

// False if there is no text of it yet.
Task<bool> Runner::readTree() {
  auto& answers = renderer.begin();
  auto found = answers.find(source);
  if (found == answers.end()) renderer.waitFor({source});
  if (found == answers.end()) co_return false;
  auto text = found->second.text();
  bool known = tree != nullptr && text == parsedText;
  if (known) co_return true;
  // If it is wrong it asks for nothing any more.
  tree = nullptr;
  parsedText = text;
  renderer.waitFor({source});
  tree = co_await parseOn(env.workers(), settings.source, text, settings.delimiters);
  co_return true;
}

Task<bool> Runner::once() {
  bool there = co_await readTree();
  if (!there) {
    now = State::WAITING;
    co_return false;
  }
  std::set<Query> also = {source};
  auto rendered = co_await renderer.pass(tree, kj::mv(also));
  if (!rendered.missing.empty()) {
    now = State::WAITING;
    co_return false;
  }
  if (!rendered.problem.empty()) fail(kj::str(rendered.problem.c_str()));
  ++texts;
  bool quiet = co_await isQuiet();
  if (!quiet) co_return true;
  co_await put(std::move(rendered.text));
  co_return false;
}

// False if something has changed meanwhile.
Task<bool> Runner::isQuiet() {
  auto time = env.timer().now();
  auto since = changedAt.orDefault(time);
  auto due = kj::min(time + settings.waitMin, since + kj::max(settings.waitMax, settings.waitMin));
  if (due > time) {
    changedAt = since;
    auto timer = env.timer().atTime(due).then([] { return true; });
    auto change = renderer.whenChanged().then([] { return false; });
    bool quiet = co_await timer.exclusiveJoin(kj::mv(change));
    if (!quiet) co_return false;
  }
  changedAt = nullptr;
  co_return true;
}

Task<void> Runner::put(std::string text) {
  ++failures;
  bool placed = co_await placing.place(std::move(text));
  failures = 0;
  now = State::RENDERED;
  problem.clear();
  if (!placed) co_return;
  renderedAt = env.nowNs();
  host.log().info("rendered", {{"destination", settings.destination.path.c_str()}});
  host.publish("template.rendered", settings.destination.path.c_str());
}

Task<std::string> renderText(Env& env, Watches& watches, std::string name, std::string text,
                             SharedVariables variables) {
  auto tree = co_await parseOn(env.workers(), name, text, Delimiters());
  Renderer renderer(env, watches, variables, RenderOptions());
  for (;;) {
    renderer.begin();
    std::set<Query> nothing;
    auto rendered = co_await renderer.pass(tree, kj::mv(nothing));
    // Also what a file still has may be old.
    auto unanswered = renderer.problem();
    if (!unanswered.empty()) fail(kj::str(unanswered.c_str()));
    bool whole = rendered.missing.empty();
    if (whole && !rendered.problem.empty()) fail(kj::str(rendered.problem.c_str()));
    if (whole) co_return kj::mv(rendered.text);
    renderer.settled();
    co_await renderer.whenWorthwhile();
  }
}

}  // namespace orch::integration::templates
