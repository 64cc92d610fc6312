#include "member/admins.h"

#include "member/peer-service.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

// Its certificates are all in one text, the newest first.
bool isOf(schema::Admin::Reader admin, schema::Peer::Reader peer) {
  if (admin.getName() != peer.getId()) return false;
  for (auto& certificate : trust::certificatesIn(text(admin.getCertificate()))) {
    if (peer.getFingerprint() == trust::digestOf(certificate).c_str()) return true;
  }
  return false;
}

std::string adminNamed(const View& view, kj::StringPtr name) {
  for (auto& [id, object] : view.base().all(Kind::ADMIN)) {
    KJ_IF_MAYBE (admin, view.find<schema::Admin>(Kind::ADMIN, id)) {
      if (admin->getName() == name) return id;
    }
  }
  for (auto& [key, change] : view.changes()) {
    if (key.kind != Kind::ADMIN || change.isDelete()) continue;
    if (change.over({}).as<schema::Admin>().getName() == name) return key.id;
  }
  return {};
}

}  // namespace

// One connection of an admin: lives as long as its promise.
class Admins::Watch final {
 public:
  Watch(kj::PromiseFulfiller<void>& fulfiller, Admins& admins, const std::string& id)
      : fulfiller(fulfiller), admins(admins), place(admins.watches.emplace(id, this)) {}
  ~Watch() { admins.watches.erase(place); }
  KJ_DISALLOW_COPY(Watch);
  void end() { fulfiller.fulfill(); }

 private:
  kj::PromiseFulfiller<void>& fulfiller;
  Admins& admins;
  std::multimap<std::string, Watch*>::iterator place;
};

class Admins::AdmissionServer final : public schema::Admission::Server {
 public:
  AdmissionServer(kj::Own<kj::Refcounted> owner, Admins& admins, std::string id, kj::String name)
      : owner(kj::mv(owner)), admins(admins), id(std::move(id)), name(kj::mv(name)) {}
  kj::Promise<void> ended(EndedContext context) override {
    context.allowCancellation();
    auto removed = kj::newAdaptedPromise<void, Watch>(admins, id);
    return removed.then([this, context]() mutable {
      context.getResults().setReason(kj::str("the admin '", name, "' was removed"));
    });
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Admins& admins;
  const std::string id;
  const kj::String name;
};

class Admins::RenewalServer final : public schema::Renewal::Server {
 public:
  RenewalServer(kj::Own<kj::Refcounted> owner, Admins& admins, std::string id, kj::String name)
      : owner(kj::mv(owner)), admins(admins), id(std::move(id)), name(kj::mv(name)) {}
  kj::Promise<void> renew(RenewContext context) override { return doRenew(context); }
  kj::Promise<void> trusted(TrustedContext context) override {
    fillTrusted(admins.members.trusted(schema::Role::ADMIN), context.getResults().initTrusted());
    return kj::READY_NOW;
  }

 private:
  Task<void> doRenew(RenewContext context) {
    auto request = kj::str(context.getParams().getRequest());
    auto certificate =
        co_await admins.members.renewed(kj::mv(request), schema::Role::ADMIN, kj::str(name));
    Decide decide = [this, certificate](View& view) { renewAdmin(view, id, certificate); };
    co_await admins.manager.submit(kj::mv(decide));
    admins.host.log().info("an admin's certificate has been renewed", {{"admin", name}});
    context.getResults().setCertificate(certificate.c_str());
    fillTrusted(admins.members.trusted(schema::Role::ADMIN), context.getResults().initTrusted());
  }

  kj::Own<kj::Refcounted> owner;
  Admins& admins;
  const std::string id;
  const kj::String name;
};

Admins::Admins(kj::Refcounted& owner, Host& host, Manager& manager, Membership& members)
    : owner(owner), host(host), manager(manager), members(members) {
  manager.observe(*this);
}

const Object& Admins::require(schema::Peer::Reader peer) const {
  for (auto& [id, object] : manager.state().all(Kind::ADMIN)) {
    if (isOf(object.as<schema::Admin>(), peer)) return object;
  }
  fail(kj::str("the admin '", peer.getId(),
               "' was removed from the cluster; 'orch admin add' on a manager makes a new "
               "certificate"));
}

capnp::Capability::Client Admins::admission(schema::Peer::Reader peer) {
  if (peer.getRole() != schema::Role::ADMIN) fail(kj::str("this is for admins"));
  auto id = text(require(peer).as<schema::Admin>().getMeta().getId());
  return kj::heap<AdmissionServer>(kj::addRef(owner), *this, id, kj::str(peer.getId()));
}

capnp::Capability::Client Admins::renewing(schema::Peer::Reader peer) {
  auto id = text(require(peer).as<schema::Admin>().getMeta().getId());
  return kj::heap<RenewalServer>(kj::addRef(owner), *this, id, kj::str(peer.getId()));
}

void Admins::changing(const Key& key, const Snapshot&, const Snapshot& after) {
  if (key.kind != Kind::ADMIN || after) return;
  auto [first, last] = watches.equal_range(key.id);
  for (; first != last; ++first) first->second->end();
}

void Admins::reloaded() {
  for (auto& [id, watch] : watches) {
    if (manager.state().find(Kind::ADMIN, id) == nullptr) watch->end();
  }
}

Answer addAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name,
                const std::string& certificate) {
  auto before = earlier(view, requestId, "addAdmin");
  if (!before.empty()) return {before, {}};
  if (!adminNamed(view, name).empty()) {
    fail(kj::str("there is an admin '", name, "' already; 'orch admin rm ", name,
                 "' first, or choose another name"));
  }
  if (view.base().all(Kind::ADMIN).size() >= Admins::MOST) {
    fail(kj::str("the cluster has ", Admins::MOST, " admins, which is the most; remove one first"));
  }
  auto holder = trust::holderOf(certificate);
  Answer answer;
  answer.id = view.create<schema::Admin>(Kind::ADMIN, [&](schema::Admin::Builder admin) {
    admin.setName(name);
    admin.setCertificate(certificate.c_str());
    admin.setFingerprint(holder.fingerprint.c_str());
    admin.setNotAfterNs(holder.notAfterNs);
  });
  remember(view, requestId, "addAdmin", answer.id);
  return answer;
}

void renewAdmin(View& view, const std::string& id, const std::string& certificate) {
  auto admin = view.find<schema::Admin>(Kind::ADMIN, id);
  if (admin == nullptr) fail(kj::str("this admin was removed from the cluster"));
  auto all = certificate;
  size_t count = 1;
  for (auto& older : trust::certificatesIn(text(KJ_ASSERT_NONNULL(admin).getCertificate()))) {
    if (older == certificate || trust::holderOf(older).notAfterNs <= view.now()) continue;
    all += older;
    ++count;
  }
  if (count > Admins::MOST_CERTIFICATES) {
    fail(kj::str("this admin has ", count - 1, " certificates already"));
  }
  auto holder = trust::holderOf(certificate);
  view.edit<schema::Admin>(Kind::ADMIN, id, [&](schema::Admin::Builder changed) {
    changed.setCertificate(all.c_str());
    changed.setFingerprint(holder.fingerprint.c_str());
    changed.setNotAfterNs(holder.notAfterNs);
  });
}

Answer removeAdmin(View& view, kj::StringPtr requestId, kj::StringPtr name) {
  auto before = earlier(view, requestId, "removeAdmin");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = adminNamed(view, name);
  if (answer.id.empty()) {
    fail(kj::str("there is no admin '", name, "'; 'orch admin ls' lists them"));
  }
  view.erase(Key{Kind::ADMIN, answer.id});
  remember(view, requestId, "removeAdmin", answer.id);
  return answer;
}

}  // namespace orch::control::manager
