#include "member/rotation.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

std::string hostnameOf(schema::Node::Reader node) {
  auto name = text(node.getDescription().getHostname());
  return name.empty() ? text(node.getMeta().getId()) : name;
}

std::string digestOfCluster(schema::Cluster::Reader cluster) {
  return cluster.getAuthority().size() == 0 ? std::string()
                                            : trust::digestOf(cluster.getAuthority().cStr());
}

template <typename F>
void editCluster(View& view, F edit) {
  auto id = text(KJ_ASSERT_NONNULL(view.cluster()).getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, edit);
}

// The one that is away, or has not renewed for another reason.
std::string anyOld(const View& view, const std::string& digest) {
  std::string found;
  view.anyNode([&](schema::Node::Reader node) {
    bool old = node.getAuthority() != digest.c_str();
    if (old) found = hostnameOf(node);
    return old;
  });
  return found;
}

}  // namespace

bool isRotating(schema::Cluster::Reader cluster) {
  for (auto former : cluster.getFormerAuthorities()) {
    if (former.getTrusted()) return true;
  }
  return false;
}

trust::Trusted trustedBy(schema::Cluster::Reader cluster, bool manages) {
  trust::Trusted trusted{cluster.getAuthority().cStr(), "", ""};
  for (auto former : cluster.getFormerAuthorities()) {
    trusted.crossed += former.getCrossed().cStr();
    if (former.getTrusted()) {
      trusted.authorities += former.getCertificate().cStr();
    } else if (manages) {
      trusted.former += former.getCertificate().cStr();
    }
  }
  return trusted;
}

bool wasAuthorityOf(schema::Cluster::Reader cluster, const std::string& digest) {
  if (digestOfCluster(cluster) == digest) return true;
  for (auto former : cluster.getFormerAuthorities()) {
    if (trust::digestOf(former.getCertificate().cStr()) == digest) return true;
  }
  return false;
}

kj::Maybe<Authority> latestAfter(const Authority& own, schema::Cluster::Reader cluster) {
  auto wanted = digestOfCluster(cluster);
  auto former = cluster.getFormerAuthorities();
  auto found = own;
  for (uint32_t i = former.size(); i > 0; --i) {
    bool is = trust::digestOf(former[i - 1].getCertificate().cStr()) == found.digest();
    if (!is) continue;
    if (former[i - 1].getSealedNext().size() == 0) return nullptr;
    found = found.open(former[i - 1].getSealedNext());
  }
  if (found.digest() != wanted) return nullptr;
  return found;
}

void replaceAuthority(View& view, const Successor& next) {
  auto before = KJ_ASSERT_NONNULL(view.cluster());
  auto digest = digestOfCluster(before);
  if (digest != next.of) fail(kj::str("the authority has been replaced meanwhile; ask again"));
  if (wasAuthorityOf(before, trust::digestOf(next.certificate))) {
    fail(kj::str("usage: this is, or was, the cluster's authority; name another one"));
  }
  auto count = before.getFormerAuthorities().size();
  bool full = count >= MOST_FORMER;
  if (full && before.getFormerAuthorities()[count - 1].getTrusted()) {
    fail(kj::str("node '", anyOld(view, digest).c_str(),
                 "' has not followed since the authority "
                 "was replaced ",
                 count, " times: bring it back, or 'orch node rm' it"));
  }
  capnp::MallocMessageBuilder message;
  message.setRoot(before);
  auto old = message.getRoot<schema::Cluster>().asReader();
  editCluster(view, [&](schema::Cluster::Builder cluster) {
    auto list = cluster.initFormerAuthorities(full ? MOST_FORMER : count + 1);
    list[0].setCertificate(old.getAuthority());
    list[0].setCrossed(next.crossed.c_str());
    list[0].setSealedNext(next.sealed);
    list[0].setTrusted(true);
    list[0].setReplacedAtNs(view.now());
    for (uint32_t i = 1; i < list.size(); ++i) {
      list.setWithCaveats(i, old.getFormerAuthorities()[i - 1]);
    }
    cluster.setAuthority(next.certificate.c_str());
    cluster.disownExternalAuthority();
    KJ_IF_MAYBE (place, next.place) place->fill(cluster.initExternalAuthority());
    cluster.setWorkerSalt(view.newId());
    cluster.setManagerSalt(view.newId());
  });
}

void noteAuthority(View& view, const std::string& nodeId, const std::string& digest) {
  auto node = view.node(nodeId);
  if (node == nullptr || KJ_ASSERT_NONNULL(node).getAuthority() == digest.c_str()) return;
  view.edit<schema::Node>(Kind::NODE, nodeId, [&](schema::Node::Builder changed) {
    changed.setAuthority(digest.c_str());
  });
  endRotationIfDone(view);
}

void forgetAuthority(View& view) {
  editCluster(view, [](schema::Cluster::Builder cluster) {
    cluster.disownAuthority();
    cluster.disownExternalAuthority();
    cluster.disownFormerAuthorities();
    cluster.disownWorkerSalt();
    cluster.disownManagerSalt();
    cluster.disownSealedLockKey();
  });
}

// Those of before are remembered for admins.
void endRotationIfDone(View& view) {
  KJ_IF_MAYBE (cluster, view.cluster()) {
    if (!isRotating(*cluster)) return;
    if (!anyOld(view, digestOfCluster(*cluster)).empty()) return;
    editCluster(view, [](schema::Cluster::Builder changed) {
      for (auto former : changed.getFormerAuthorities()) former.setTrusted(false);
    });
  }
}

bool hasSealedKeys(schema::Cluster::Reader cluster) {
  for (auto former : cluster.getFormerAuthorities()) {
    if (former.getSealedNext().size() > 0) return true;
  }
  return false;
}

void forgetSealedKeys(View& view) {
  KJ_IF_MAYBE (cluster, view.cluster()) {
    if (isRotating(*cluster) || !hasSealedKeys(*cluster)) return;
    editCluster(view, [](schema::Cluster::Builder changed) {
      for (auto former : changed.getFormerAuthorities()) former.disownSealedNext();
    });
  }
}

void describeRotation(const State& state, schema::Rotation::Builder rotation) {
  for (auto& [id, object] : state.all(Kind::CLUSTER)) {
    auto cluster = object.as<schema::Cluster>();
    rotation.setRuns(isRotating(cluster));
    auto digest = digestOfCluster(cluster);
    std::vector<std::string> waiting, away;
    uint32_t nodes = 0;
    for (auto& entry : state.all(Kind::NODE)) {
      auto node = entry.second.as<schema::Node>();
      ++nodes;
      if (!rotation.getRuns() || node.getAuthority() == digest.c_str()) continue;
      bool ready = state.stateOf(node) == schema::Node::State::READY;
      (ready ? waiting : away).push_back(hostnameOf(node));
    }
    auto old = static_cast<uint32_t>(waiting.size() + away.size());
    rotation.setNodes(nodes);
    rotation.setRenewed(nodes - old);
    auto list = rotation.initWaiting(waiting.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, waiting[i].c_str());
    list = rotation.initAway(away.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, away[i].c_str());
  }
}

}  // namespace orch::control::manager
