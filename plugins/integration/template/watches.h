// The answers that templates wait for: each question is asked once, however many ask it, for as
// long as one of them does.
#pragma once

#include <list>

#include "orch/env.h"
#include "recall.h"
#include "source.h"

namespace orch::integration::templates {

// On the loop's thread.
class Watches final {
 public:
  // At once, of all templates together; each may hold a connection.
  static constexpr size_t MAX_WATCHES = 2'000;

  // Who asks. Ends before the watches do.
  class User {
   public:
    explicit User(Watches& watches) : watches(watches) { watches.users.insert(this); }
    ~User() noexcept(false) { watches.forget(*this); }
    KJ_DISALLOW_COPY(User);

    // From now on these and no others. Fails, and asks for nothing more, if they are too many, or
    // nobody answers one of them.
    void want(std::set<Query> queries) { watches.want(*this, std::move(queries)); }
    // How often one of them got another answer, or had none for a new reason.
    uint64_t changes() const { return count; }
    // Settles when that is more than `seen`. One at a time.
    kj::Promise<void> whenChanged(uint64_t seen);
    // What was to be made of so many changes is made, or was given up for now.
    void settled(uint64_t seen) { watches.settled(*this, seen); }
    // Why one of them has no answer, or an old one; empty: all have.
    std::string problem() const;

   private:
    friend class Watches;
    Watches& watches;
    std::set<Query> wanted;
    uint64_t count = 0, done = 0;
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };

  // Those that come first are asked first; they outlive it.
  explicit Watches(kj::Vector<Source*> sources) : sources(kj::mv(sources)) {}
  KJ_DISALLOW_COPY(Watches);

  // Settles when all users have made something of the answers that were told so far, or have given
  // that up for now: for a source whose tasks stop only when nobody is led to them any more.
  kj::Promise<void> whenSettled();

  // As they are known now; for any thread.
  std::shared_ptr<const Answers> answers();

 private:
  class Watch final : public Source::Listener {
   public:
    Watch(Watches& watches, Source& source, const Query& query);
    void answered(Value answer) override;
    void failed(kj::StringPtr reason) override;

    Watches& watches;
    const Query query;
    std::set<User*> users;
    std::string problem;
    kj::Promise<void> following;
  };
  void want(User& user, std::set<Query> queries);
  void forget(User& user);
  void settled(User& user, uint64_t seen);
  void release(User& user, const std::set<Query>& kept);
  Source& sourceOf(const Query& query);
  void tell(Watch& watch);

  kj::Vector<Source*> sources;
  Answers known;
  // A copy of them, of the watches and of the renderings that began with it; null: it is old.
  std::shared_ptr<const Answers> copy;
  std::map<Query, kj::Own<Watch>> watches;
  std::set<User*> users;
  struct Waiter {
    std::map<User*, uint64_t> left;  // and how many changes each has to be done with
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  std::list<Waiter> waiters;
};

}  // namespace orch::integration::templates
