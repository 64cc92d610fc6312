// A DNS message is answered, forwarded or left alone: as a task's query, as a server's answer to
// one, as an answer that is kept. What is said to a query is a message that can be read, no larger
// than its asker takes.
#include <capnp/message.h>
#include <kj/debug.h>

#include "answer-cache.h"
#include "responder.h"

namespace dns = orch::network::dns;

namespace {
struct Book {
  Book() {
    capnp::MallocMessageBuilder message;
    auto change = message.initRoot<orch::schema::NetworkChange>();
    auto network = change.initNetworks(1)[0];
    network.initMeta().setId("n");
    network.setName("n");
    network.setSubnet("10.0.0.0/8");
    auto service = change.initServices(1)[0];
    service.setNetwork("n");
    service.setServiceId("s");
    service.setName("a");
    auto peers = change.initPeers(100);
    for (unsigned i = 0; i < peers.size(); ++i) {
      peers[i].setNetwork("n");
      peers[i].setTaskId(kj::str("t", i));
      peers[i].setServiceId("s");
      peers[i].setName(kj::str("a.", i));
      peers[i].setAddress(kj::str("10.0.0.", i + 1));
      peers[i].setServing(true);
    }
    tables.apply(change.asReader());
  }
  dns::Tables tables;
  dns::Responder responder{tables, 5};
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Book book;
  dns::Message message(data, size);
  dns::Bytes answer;
  for (bool tcp : {false, true}) {
    answer.clear();
    auto verdict = book.responder.respond(message, {"n"}, tcp, answer);
    if (verdict != dns::Responder::Verdict::ANSWER) continue;
    dns::Query query(message);
    KJ_ASSERT(answer.size() >= dns::HEADER_BYTES && dns::idOf(answer) == dns::idOf(message));
    KJ_ASSERT(answer.size() <= (tcp ? dns::MOST_BYTES : query.limit));
    KJ_ASSERT(dns::Query(answer).drop, "an answer that looks like a query");
  }
  // As what a server says to the first half, if that is a question.
  dns::Message query(data, size / 2), reply(data + size / 2, size - size / 2);
  dns::answers(reply, query);
  if (message.size() < dns::HEADER_BYTES) return 0;
  auto now = kj::origin<kj::TimePoint>() + 1 * kj::HOURS;
  dns::AnswerCache cache;
  cache.put("", message, message, now);
  cache.find("", message, now + 1 * kj::SECONDS);
  dns::refusalOf(message, dns::Rcode::SERVFAIL);
  return 0;
}
