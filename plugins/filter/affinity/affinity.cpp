#include "affinity.h"

#include <algorithm>

#include "orch/fail.h"

namespace orch::filter::affinity {

namespace {
// As a rule names it; empty: there is no such key.
std::string keyOf(const std::string& typed) {
  constexpr std::string_view LABELS = "labels.";
  constexpr std::string_view OF_SERVICE = "service.labels.";
  if (typed == "service") return "service.name";
  if (typed == "image") return "service.image";
  if (typed.starts_with(LABELS) && typed.size() > LABELS.size()) return "container." + typed;
  return typed.starts_with(OF_SERVICE) && typed.size() > OF_SERVICE.size() ? typed : "";
}

// `redis:7` of `registry:5000/cache/redis:7@sha256:…` and so on: what a user may call an image.
std::vector<std::string> namesOf(const std::string& image) {
  std::vector<std::string> names = {image};
  auto add = [&](size_t end) {
    if (end < names.back().size()) names.push_back(names.back().substr(0, end));
  };
  add(image.find('@'));
  auto slash = names.back().rfind('/');
  auto colon = names.back().rfind(':');
  if (slash == std::string::npos || (colon != std::string::npos && colon > slash)) add(colon);
  return names;
}
}  // namespace

void Affinity::describe(kj::StringPtr text, const Expression& expression,
                        schema::Rule::Builder rule) const {
  bool away = expression.isNegated();
  if (expression.hasNegation() && !away) {
    fail(kj::str("usage: the affinity '", text,
                 "' has more than one part, and what is negated in "
                 "them means nothing: give each part an --affinity of its own"));
  }
  auto typed = expression.keys();
  auto keys = rule.initKeys(typed.size());
  for (uint32_t i = 0; i < keys.size(); ++i) {
    auto key = keyOf(typed[i]);
    if (key.empty()) {
      fail(kj::str("usage: the affinity '", text, "' has the unknown key '", typed[i].c_str(),
                   "'; there are service, image, labels.KEY (of containers) and "
                   "service.labels.KEY"));
    }
    keys.set(i, key.c_str());
  }
  rule.setSubject(away ? schema::Rule::Subject::AWAY : schema::Rule::Subject::NEAR);
  rule.initRefusals(1).set(0, kj::str("affinity ", text, " not met"));
}

bool Affinity::holds(const Expression& expression, const std::vector<std::string>& keys,
                     capnp::List<capnp::Text>::Reader values) const {
  auto valueOf = [&](std::string_view key) {
    auto at = std::find(keys.begin(), keys.end(), key) - keys.begin();
    return std::string(values[static_cast<uint32_t>(at)].cStr());
  };
  auto met = [&](const std::string& image) {
    bool is = expression.isMetBy(
        [&](std::string_view key) { return key == "image" ? image : valueOf(key); });
    return is != expression.isNegated();  // whether it is what to be away from
  };
  if (std::find(keys.begin(), keys.end(), "image") == keys.end()) return met("");
  auto names = namesOf(valueOf("image"));
  return std::any_of(names.begin(), names.end(), met);
}

}  // namespace orch::filter::affinity
