#include "lib/known-state.h"

#include <kj/string.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::store {

namespace {

std::string remedyOf(const char* first, const std::string& file) {
  return std::string("; ") + first + ", or, if this is meant, stop orchd, remove '" + file +
         "' and start it again";
}

std::optional<uint64_t> knownNumber(std::string_view text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

// `ID EPOCH REVISION`
std::optional<KnownState> readKnown(std::string_view text) {
  auto first = text.find(' ');
  auto second = text.find(' ', first == text.npos ? first : first + 1);
  if (first == 0 || second == text.npos) return std::nullopt;
  auto epoch = knownNumber(text.substr(first + 1, second - first - 1));
  auto revision = knownNumber(text.substr(second + 1));
  if (!epoch || !revision) return std::nullopt;
  return KnownState{std::string(text.substr(0, first)), *revision, *epoch};
}

}  // namespace

std::string KnownState::whyNot(const KnownState& there, const std::string& place,
                               const std::string& file) const {
  if (id.empty()) return {};
  auto mine = "revision " + std::to_string(revision) + " of state '" + id + "'";
  const char* settings = "see that 'endpoints' and 'prefix' are right";
  if (there.id.empty()) {
    return place + " has no state, but this node knew " + mine + remedyOf(settings, file);
  }
  if (there.id != id) {
    return place + " has state '" + there.id + "', another cluster's: this node knew " + mine +
           remedyOf(settings, file);
  }
  if (there.revision < revision || there.epoch < epoch) {
    return place + " has gone back to revision " + std::to_string(there.revision) + " and epoch " +
           std::to_string(there.epoch) + ", as a restored old copy does: this node knew " + mine +
           " and epoch " + std::to_string(epoch) + remedyOf("bring back the newer one", file);
  }
  return {};
}

bool KnownState::learn(const KnownState& there) {
  if (there.id == id && there.revision <= revision && there.epoch <= epoch) return false;
  id = there.id;
  revision = std::max(revision, there.revision);
  epoch = std::max(epoch, there.epoch);
  return true;
}

KnownState KnownState::load(const std::string& path) {
  auto content = readChecked(path, "what this node knew of the cluster's state",
                             "remove it if the state that is there is the right one");
  KJ_IF_MAYBE (bytes, content) {
    auto read = readKnown(std::string_view(bytes->asChars().begin(), bytes->size()));
    if (!read) fail(kj::str("'", path.c_str(), "' is of another version of orch; remove it"));
    return *read;
  }
  return {};
}

void KnownState::save(const std::string& path) const {
  if (id.empty()) return removeTree(path);
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  auto text = id + " " + std::to_string(epoch) + " " + std::to_string(revision);
  writeChecked(path, kj::arrayPtr(text.data(), text.size()).asBytes());
}

}  // namespace orch::store
