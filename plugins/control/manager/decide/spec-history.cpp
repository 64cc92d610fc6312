#include "decide/spec-history.h"

#include "decide/mode.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

using PastSpec = schema::PastSpec;

// Null: there is none that is known.
kj::Maybe<schema::ServiceSpec::Reader> specOf(schema::Service::Reader service,
                                              PastSpec::Reader past) {
  if (past.hasSpec()) return past.getSpec();
  if (service.hasPreviousSpec()) return service.getPreviousSpec();
  return nullptr;
}

// Whether the update that the service tells of was the one to the spec that it has: others change
// no tasks.
bool isOfThisSpec(schema::Service::Reader service) {
  auto past = service.getHistory();
  return past.size() == 0 ||
         past[0].getOutcome().getStartedAtNs() != service.getUpdate().getStartedAtNs();
}

std::string numbersOf(schema::Service::Reader service) {
  std::string list;
  auto past = service.getHistory();
  for (uint32_t i = past.size(); i-- > 0;) {
    list += list.empty() ? "" : i == 0 ? " and " : ", ";
    list += std::to_string(past[i].getNumber());
  }
  return list;
}

}  // namespace

uint64_t specNumber(schema::Service::Reader service) {
  auto past = service.getHistory();
  return past.size() > 0 ? past[0].getNumber() + 1 : 1;
}

void keepPast(schema::Service::Builder service, const std::string& left) {
  auto now = service.asReader();
  capnp::MallocMessageBuilder message;
  auto older = now.getHistory();
  uint32_t kept = 0;
  size_t bytes = 0;
  for (auto past : older) {
    if (kept + 1 == MAX_PAST_SPECS) break;
    KJ_IF_MAYBE (spec, specOf(now, past)) {
      bytes += spec->totalSize().wordCount * sizeof(capnp::word);
    }
    if (bytes > MAX_PAST_BYTES) break;
    ++kept;
  }
  auto list = message.initRoot<schema::Service>().initHistory(kept + 1);
  list[0].setNumber(specNumber(now));
  list[0].setSpecVersion(now.getSpecVersion());
  list[0].setSpecAtNs(now.getSpecAtNs());
  if (isOfThisSpec(now)) {
    list[0].setOutcome(now.getUpdate());
    if (!left.empty()) list[0].getOutcome().setMessage(left.c_str());
  } else {
    // By this one knows that it was not its own.
    list[0].initOutcome().setStartedAtNs(now.getUpdate().getStartedAtNs());
  }
  for (uint32_t i = 0; i < kept; ++i) {
    list.setWithCaveats(i + 1, older[i]);
    KJ_IF_MAYBE (spec, specOf(now, older[i])) list[i + 1].setSpec(*spec);
  }
  service.setHistory(list.asReader());
}

schema::ServiceSpec::Reader pastSpec(schema::Service::Reader service, uint64_t number) {
  for (auto past : service.getHistory()) {
    if (past.getNumber() != number) continue;
    KJ_IF_MAYBE (spec, specOf(service, past)) return *spec;
  }
  auto name = service.getSpec().getName();
  if (service.getHistory().size() == 0) {
    fail(kj::str("service '", name, "' has no spec to go back to: it was not updated yet"));
  }
  if (number == specNumber(service)) {
    fail(kj::str("service '", name, "' is at version ", number, " already; it can go back to ",
                 numbersOf(service).c_str()));
  }
  fail(kj::str("service '", name, "' has no version ", number, " to go back to; there is ",
               numbersOf(service).c_str()));
}

void setPastReplicas(schema::Service::Builder service, uint32_t replicas) {
  if (service.hasPreviousSpec()) setReplicas(service.getPreviousSpec(), replicas);
  for (auto past : service.getHistory()) {
    if (past.hasSpec()) setReplicas(past.getSpec(), replicas);
  }
}

}  // namespace orch::control::manager
