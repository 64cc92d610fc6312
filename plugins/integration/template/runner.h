// One template of the settings: renders it, and puts what comes of it in its place, whenever what
// it depends on has changed.
#pragma once

#include "orch/host.h"
#include "placing.h"
#include "watches.h"

namespace orch::integration::templates {

struct TemplateSettings {
  std::string source;  // the path of the template
  Destination destination;
  Delimiters delimiters;
  RenderOptions options;
  // A change waits until nothing has changed for as long, but not past the latter.
  kj::Duration waitMin = 0 * kj::SECONDS, waitMax = 0 * kj::SECONDS;
};

// Of whoever made them, and of the renderings that go on with them.
using SharedVariables = std::shared_ptr<const Variables>;

// Renders one text again and again, on a worker thread, and knows what it waits for.
class Renderer final {
 public:
  // `env` and `watches` outlive it.
  Renderer(Env& env, Watches& watches, SharedVariables variables, RenderOptions options)
      : env(env),
        watches(watches),
        user(watches),
        variables(std::move(variables)),
        options(options) {}

  // Looks at what is known now: the next pass is with that.
  const Answers& begin();
  // Renders it once. From then on all that it asked for is watched, and `also`.
  Task<Rendered> pass(std::shared_ptr<const Tree> tree, std::set<Query> also);
  // Watches these alone, and waits for them.
  void waitFor(std::set<Query> queries);
  // Settles when a pass may come to something else than the last one: all that it lacked is
  // answered, `also` has changed, or there is another problem.
  Task<void> whenWorthwhile();
  // Settles when anything that was asked for has changed since `begin`.
  kj::Promise<void> whenChanged() { return user.whenChanged(seen); }
  // What was to be made of the answers of `begin` is made, or was given up for now.
  void settled() { user.settled(seen); }
  const std::set<Query>& waitsFor() const { return missing; }
  // Why something has no answer, or an old one; empty: all is well.
  std::string problem() const { return user.problem(); }

 private:
  bool lacks(const Answers& answers) const;

  Env& env;
  Watches& watches;
  Watches::User user;
  const SharedVariables variables;
  const RenderOptions options;
  std::set<Query> missing, beside;
  std::shared_ptr<const Answers> known = std::make_shared<Answers>();
  uint64_t seen = 0;  // changes, when it began
};

class Runner final {
 public:
  enum class State { WAITING, RENDERED, FAILED };
  // Failures of check, command and disk are tried again after 1 s, 2 s, 4 s …, up to 30 s.
  // References outlive it.
  Runner(Env& env, Host& host, Watches& watches, Turns& turns, SharedVariables variables,
         TemplateSettings settings);

  // Until it is cancelled. Reports in the log, and by the event `template.rendered`.
  Task<void> run();

  const TemplateSettings& of() const { return settings; }
  State state() const { return now; }
  std::string reason() const;                          // why it waits or has failed
  int64_t renderedAtNs() const { return renderedAt; }  // 0: not since the plugin started
  // That came to a text, whether it was written or not.
  uint64_t renderings() const { return texts; }

 private:
  // True if it has to be done again at once.
  Task<bool> once();
  Task<bool> readTree();
  Task<bool> isQuiet();
  Task<void> put(std::string text);
  void failed(kj::StringPtr why);

  Env& env;
  Host& host;
  const TemplateSettings settings;
  const Query source;
  Renderer renderer;
  Placing placing;
  std::string parsedText;
  std::shared_ptr<const Tree> tree;  // of the runner, and of a rendering that goes on with it
  kj::Maybe<kj::TimePoint> changedAt;
  uint64_t texts = 0;
  unsigned failures = 0;  // of putting in place, one after the other
  State now = State::WAITING;
  std::string problem;
  int64_t renderedAt = 0;
};

// A text for once, when all that it asks for is answered. Fails with what is wrong with it, and if
// something of it cannot be answered. `variables` are those of its environment.
Task<std::string> renderText(Env& env, Watches& watches, std::string name, std::string text,
                             SharedVariables variables);

}  // namespace orch::integration::templates
