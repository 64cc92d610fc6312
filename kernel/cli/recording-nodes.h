// For the recording server: what it says of nodes, and of the store.
#pragma once

#include "recording-usage.h"

namespace orch::cli {

inline constexpr const char* NODE_ID = "n1aaaaaaaaaaaaaaaaaaaaaaa";

// One, which leads. The state is in `store.local`, or goes to where it is to be.
class RecordingNodes : public RecordingUsage {
 public:
  kj::Promise<void> node(NodeContext context) override {
    context.getResults().initNode().initMeta().setId(NODE_ID);
    return kj::READY_NOW;
  }
  kj::Promise<void> nodes(NodesContext context) override {
    if (script->unled) context.getResults().setAsOfNs(agoNs(12));
    auto node = context.getResults().initNodes(1)[0];
    auto label = node.initDescription().initEngineLabels(1)[0];
    label.setKey("disk");
    label.setValue("ssd");
    node.initMeta().setId(NODE_ID);
    node.getDescription().setHostname("node-1");
    node.getDescription().setEngineVersion("0.1.0");
    node.getDescription().initRuntimes(1).set(0, "crun");
    auto gpus = node.getDescription().initGeneric(1)[0];
    gpus.setKind("gpu");
    gpus.setAmount(4);
    node.setGenericInUse(node.getDescription().getGeneric());
    node.getGenericInUse()[0].setAmount(1);
    node.setState(schema::Node::State::READY);
    node.setRole(schema::Node::Role::MANAGER);
    node.setLeader(true);
    return kj::READY_NOW;
  }
  // n3 is away; n2 has a certificate of the new authority when it is asked for it the second time.
  kj::Promise<void> rotateAuthority(RotateAuthorityContext context) override {
    auto params = context.getParams();
    owns = params.getCertificate().size() + params.getKey().size();
    if (params.getCertificate().startsWith("-----BEGIN")) given = kj::str(params.getCertificate());
    if (params.hasExternalAuthority()) {
      auto external = params.getExternalAuthority();
      bool stays = params.getCertificate().size() > 0;
      given = kj::str(stays ? "still " : "new ", params.getCertificate(), external.getProtocol(),
                      " ", external.getUrl(), " ", external.getCertificate(), "\n");
    }
    rotates = true;
    context.getResults().setCertificate("new");
    return kj::READY_NOW;
  }
  kj::Promise<void> authority(AuthorityContext context) override {
    auto results = context.getResults();
    results.setRevision(context.getParams().getAfter() + 1);
    results.setCertificate(rotates ? kj::str("new ", owns, "\n") : kj::str("old\n"));
    if (given.size() > 0) results.setCertificate(given);
    auto rotation = results.initRotation();
    rotation.setRuns(rotates);
    rotation.setNodes(3);
    if (!rotates) return kj::READY_NOW;
    bool first = context.getParams().getAfter() == 0;
    rotation.setRenewed(first ? 1 : 2);
    if (first) rotation.initWaiting(1).set(0, "n2");
    rotation.initAway(1).set(0, "n3");
    return kj::READY_NOW;
  }
  bool rotates = false;
  size_t owns = 0;   // bytes of the user's own
  kj::String given;  // that, if it is a certificate

  // Managers are locked once there is another key.
  kj::Promise<void> unlockKey(UnlockKeyContext context) override {
    locked |= context.getParams().getRotate();
    if (locked) context.getResults().setKey("ORCHKEY-1-abc");
    return kj::READY_NOW;
  }
  kj::Promise<void> updateCluster(UpdateClusterContext context) override {
    auto lock = context.getParams().getChange().getAutolock();
    if (lock.isSet()) locked = lock.getSet();
    context.getResults().initCluster().setName("default");
    context.getResults().setUnlockKey(locked ? "ORCHKEY-1-abc" : "");
    return kj::READY_NOW;
  }
  bool locked = false;

  kj::Promise<void> migrate(MigrateContext context) override {
    bool there = context.getParams().getStore() == "store.local";
    context.getResults().setObjects(there ? 0 : 7);
    context.getResults().setPausedMs(there ? 0 : 12);
    context.getResults().setName(there ? "store.local" : "store.etcd");
    return kj::READY_NOW;
  }
};

}  // namespace orch::cli
