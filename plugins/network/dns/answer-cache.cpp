#include "answer-cache.h"

#include <algorithm>

namespace orch::network::dns {

namespace {
// All of a query but its id: flags and EDNS have a say in what the answer is.
std::string keyOf(const std::string& scope, Message query) {
  return scope + "\n" + std::string(query.begin() + 2, query.end());
}
}  // namespace

Bytes AnswerCache::find(const std::string& scope, Message query, kj::TimePoint now) {
  auto found = entries.find(keyOf(scope, query));
  if (found == entries.end()) return {};
  auto& entry = found->second;
  auto seconds = static_cast<uint64_t>((now - entry.since) / kj::SECONDS);
  if (seconds >= entry.seconds) return {};
  auto answer = aged(entry.answer, static_cast<uint32_t>(seconds));
  if (!answer.empty()) setId(answer, idOf(query));
  return answer;
}

void AnswerCache::put(const std::string& scope, Message query, Message answer, kj::TimePoint now) {
  if (query.size() > MOST_QUERY_BYTES || answer.size() > MOST_ANSWER_BYTES) return;
  if (isTruncated(answer)) return;
  if (rcodeOf(answer) != Rcode::NOERROR && rcodeOf(answer) != Rcode::NXDOMAIN) return;
  auto seconds = std::min(lifeOf(answer), LONGEST_SECONDS);
  if (seconds == 0) return;
  auto key = keyOf(scope, query);
  auto [entry, added] =
      entries.insert_or_assign(key, Entry{Bytes(answer.begin(), answer.end()), now, seconds});
  if (!added) return;
  order.push_back(kj::mv(key));
  if (order.size() <= MOST) return;
  entries.erase(order.front());
  order.pop_front();
}

void AnswerCache::clear() {
  entries.clear();
  order.clear();
}

}  // namespace orch::network::dns
