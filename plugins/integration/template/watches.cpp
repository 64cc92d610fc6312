#include "watches.h"

#include <algorithm>

#include "orch/fail.h"

namespace orch::integration::templates {

Watches::Watch::Watch(Watches& watches, Source& source, const Query& query)
    : watches(watches),
      query(query),
      following(
          source.follow(query, *this).promise().eagerlyEvaluate([this](kj::Exception&& error) {
            failed(plainText(error));
          })) {}

void Watches::Watch::answered(Value answer) {
  problem.clear();
  auto found = watches.known.find(query);
  bool same = found != watches.known.end() && found->second == answer;
  if (same) return;
  watches.known[query] = std::move(answer);
  watches.copy = nullptr;
  watches.tell(*this);
}

void Watches::Watch::failed(kj::StringPtr reason) {
  if (problem == reason.cStr()) return;
  problem = reason.cStr();
  watches.tell(*this);
}

void Watches::tell(Watch& watch) {
  for (auto* user : watch.users) {
    ++user->count;
    KJ_IF_MAYBE (fulfiller, user->waiting) {
      (*fulfiller)->fulfill();
      user->waiting = nullptr;
    }
  }
}

kj::Promise<void> Watches::User::whenChanged(uint64_t seen) {
  if (count != seen) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

std::string Watches::User::problem() const {
  for (auto& query : wanted) {
    auto found = watches.watches.find(query);
    if (found == watches.watches.end() || found->second->problem.empty()) continue;
    return query.text() + ": " + found->second->problem;
  }
  return {};
}

kj::Promise<void> Watches::whenSettled() {
  Waiter waiter;
  for (auto* user : users) {
    if (user->done < user->count) waiter.left[user] = user->count;
  }
  if (waiter.left.empty()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiter.fulfiller = kj::mv(pair.fulfiller);
  waiters.push_back(kj::mv(waiter));
  return kj::mv(pair.promise);
}

void Watches::settled(User& user, uint64_t seen) {
  user.done = std::max(user.done, seen);
  for (auto waiter = waiters.begin(); waiter != waiters.end();) {
    auto found = waiter->left.find(&user);
    if (found != waiter->left.end() && found->second <= seen) waiter->left.erase(found);
    bool whole = waiter->left.empty();
    if (whole) waiter->fulfiller->fulfill();
    auto next = std::next(waiter);
    if (whole || !waiter->fulfiller->isWaiting()) waiters.erase(waiter);
    waiter = next;
  }
}

void Watches::forget(User& user) {
  settled(user, UINT64_MAX);
  users.erase(&user);
  release(user, {});
}

std::shared_ptr<const Answers> Watches::answers() {
  if (copy == nullptr) copy = std::make_shared<const Answers>(known);
  return copy;
}

Source& Watches::sourceOf(const Query& query) {
  for (auto* source : sources) {
    if (source->knows(query)) return *source;
  }
  fail(kj::str("nobody here answers ", query.text().c_str(),
               "; name the agents of a consul in the setting 'consul'"));
}

void Watches::want(User& user, std::set<Query> queries) {
  size_t more = 0;
  for (auto& query : queries) {
    if (watches.count(query) > 0) continue;
    sourceOf(query);
    ++more;
  }
  if (watches.size() + more > MAX_WATCHES) {
    fail(kj::str("templates ask for more than ", MAX_WATCHES, " things at once"));
  }
  release(user, queries);
  for (auto& query : queries) {
    auto& watch = watches[query];
    if (watch.get() == nullptr) watch = kj::heap<Watch>(*this, sourceOf(query), query);
    watch->users.insert(&user);
  }
  user.wanted = std::move(queries);
}

void Watches::release(User& user, const std::set<Query>& kept) {
  for (auto& query : user.wanted) {
    auto found = watches.find(query);
    if (found == watches.end() || kept.count(query) > 0) continue;
    found->second->users.erase(&user);
    if (!found->second->users.empty()) continue;
    watches.erase(found);
    known.erase(query);
    copy = nullptr;
  }
}

}  // namespace orch::integration::templates
