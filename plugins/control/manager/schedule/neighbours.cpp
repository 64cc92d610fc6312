#include "schedule/neighbours.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
using Subject = Term::Subject;
constexpr std::string_view SERVICE_LABELS = "service.labels.";
constexpr std::string_view CONTAINER_LABELS = "container.labels.";

std::string labelIn(capnp::List<schema::KeyValue>::Reader labels, std::string_view key) {
  for (auto label : labels) {
    if (manager::view(label.getKey()) == key) return text(label.getValue());
  }
  return {};
}

std::string attributeOf(schema::ServiceSpec::Reader spec, std::string_view key) {
  auto container = spec.getTask().getContainer();
  if (key == "service.name") return text(spec.getName());
  if (key == "service.image") return text(container.getImage());
  if (key.starts_with(SERVICE_LABELS)) {
    return labelIn(spec.getLabels(), key.substr(SERVICE_LABELS.size()));
  }
  return labelIn(container.getLabels(), key.substr(CONTAINER_LABELS.size()));
}

uint8_t codeOf(const View& view, schema::Service::Reader service, Verdicts::Entry& term) {
  return view.base().verdicts().codeOf(
      term, [&](const std::string& key) { return attributeOf(service.getSpec(), key); });
}

// Of the state, kept until a service changes.
const std::vector<std::string>& meantInState(const View& view, Verdicts::Entry& term,
                                             bool& unknown) {
  auto& state = view.base();
  if (term.meantAt == state.servicesVersion() && term.known) return term.meant;
  term.meant.clear();
  bool all = term.known;
  for (auto& [id, object] : state.all(Kind::SERVICE)) {
    auto code = codeOf(view, object.as<schema::Service>(), term);
    if (code == Verdicts::MET) term.meant.push_back(id);
    all &= code != Verdicts::UNKNOWN;
  }
  unknown |= !all;
  term.meantAt = all ? state.servicesVersion() : 0;
  return term.meant;
}

// And as the pass has changed them.
std::vector<std::string> servicesMeant(const View& view, Verdicts::Entry& term, bool& unknown) {
  auto ids = meantInState(view, term, unknown);
  auto& changes = view.changes();
  for (auto it = changes.lower_bound(Key{Kind::SERVICE, {}});
       it != changes.end() && it->first.kind == Kind::SERVICE; ++it) {
    auto& id = it->first.id;
    std::erase(ids, id);
    KJ_IF_MAYBE (service, view.service(id)) {
      auto code = codeOf(view, *service, term);
      if (code == Verdicts::MET) ids.push_back(id);
      unknown |= code == Verdicts::UNKNOWN;
    }
  }
  return ids;
}
}  // namespace

Neighbours::Neighbours(const View& view, std::string_view serviceId, schema::TaskSpec::Reader spec)
    : view(view) {
  for (auto text : spec.getPlacement().getFilters()) {
    auto& term = view.base().verdicts().filter(manager::view(text));
    if (!term.known || term.subject == Subject::NODE) continue;
    Meant meant{&term, {}};
    meant.services = servicesMeant(view, term, meant.unknown);
    meant.own =
        std::find(meant.services.begin(), meant.services.end(), serviceId) != meant.services.end();
    if (meant.own && term.subject == Subject::NEAR) {
      int64_t tasks = 0;
      for (auto& id : meant.services) {
        view.eachWanted(id, [&](uint32_t, int64_t wanted) { tasks += wanted; });
      }
      meant.nobody = tasks <= 0;
    }
    terms.push_back(std::move(meant));
  }
}

bool Neighbours::isMet(const Meant& term, std::string_view nodeId) const {
  if (term.unknown) return false;
  auto node = view.numberOf(nodeId);
  bool has = std::any_of(term.services.begin(), term.services.end(),
                         [&](auto& id) { return view.wantedOn(id, node) > 0; });
  if (term.of->subject == Subject::AWAY) return !has;
  return has || term.nobody;
}

std::string_view Neighbours::refusal(std::string_view nodeId) const {
  for (auto& term : terms) {
    if (term.of->weight > 0 || isMet(term, nodeId)) continue;
    return Verdicts::wordsOf(*term.of, term.unknown ? Verdicts::UNKNOWN : 1);
  }
  return {};
}

std::vector<uint64_t> Neighbours::nodesOf(const Meant& term, size_t words) const {
  std::map<uint32_t, int64_t> counts;
  for (auto& id : term.services) {
    view.eachWanted(id, [&](uint32_t node, int64_t wanted) { counts[node] += wanted; });
  }
  std::vector<uint64_t> bits(words, 0);
  for (auto& [node, count] : counts) {
    if (count > 0 && node / 64 < words) bits[node / 64] |= uint64_t(1) << node % 64;
  }
  return bits;
}

void Neighbours::narrow(std::vector<uint64_t>& nodes) const {
  for (auto& term : terms) {
    if (term.of->weight > 0) continue;
    if (term.unknown) std::fill(nodes.begin(), nodes.end(), 0);
    bool away = term.of->subject == Subject::AWAY;
    if (term.nobody) continue;
    auto bits = nodesOf(term, nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) nodes[i] &= away ? ~bits[i] : bits[i];
  }
}

bool Neighbours::isAwayFromOwn() const {
  return std::any_of(terms.begin(), terms.end(), [](auto& term) {
    return term.of->weight == 0 && term.own && term.of->subject == Subject::AWAY;
  });
}

bool Neighbours::isFirstOfOwn() const {
  return std::any_of(terms.begin(), terms.end(), [](auto& term) { return term.nobody; });
}

bool Neighbours::waits() const {
  return std::any_of(terms.begin(), terms.end(), [](auto& term) {
    return term.of->weight == 0 && term.of->subject == Subject::NEAR;
  });
}

std::string_view unmetNeighbour(const View& view, std::string_view serviceId,
                                std::string_view nodeId, schema::TaskSpec::Reader spec) {
  if (spec.getPlacement().getFilters().size() == 0) return {};
  return Neighbours(view, serviceId, spec).refusal(nodeId);
}

}  // namespace orch::control::manager
