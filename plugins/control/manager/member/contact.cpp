#include "member/contact.h"

#include "orch/fail.h"

namespace orch::control::manager {

namespace {

class ContactServer final : public schema::Contact::Server {
 public:
  ContactServer(kj::Own<kj::Refcounted> owner, Host& host) : owner(kj::mv(owner)), host(host) {}
  kj::Promise<void> managers(ManagersContext context) override {
    auto request = host.service<schema::Trust>("trust").knowRequest();
    request.setManagers(context.getParams().getAddresses());
    return request.send().ignoreResult();
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Host& host;
};

}  // namespace

schema::Contact::Client newContact(kj::Own<kj::Refcounted> owner, Host& host,
                                   schema::Peer::Reader peer) {
  if (peer.getRole() != schema::Role::MANAGER) fail(kj::str("only managers say where they are"));
  return kj::heap<ContactServer>(kj::mv(owner), host);
}

}  // namespace orch::control::manager
