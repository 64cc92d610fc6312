// Where the runtime keeps things. One folder per container on disk, one in the run folder.
//
//   <dataDir>/<instance>/containers/<id>/  record state upper/ work/ volumes/<n>/_data log log.<n>
//                                          hosts hostname resolv.conf
//   <dataDir>/volumes/<name>/_data         of all runtimes; see volumes.h
//   <runDir>/<instance>/<id>/              config.json rootfs/ record pid ctl
//   <runDir>/<instance>/exits/<id>         conmon's exit files
//   <runDir>/<instance>/state/             the OCI runtime's own
#pragma once

#include <string>

#include "orch/host.h"

namespace orch::runtime {

struct Layout {
  std::string data;     // <dataDir>/<instance>
  std::string run;      // <runDir>/<instance>
  std::string volumes;  // <dataDir>/volumes

  static Layout of(const NodeFacts& node) {
    return {std::string(node.dataDir.cStr()) + "/" + node.instance.cStr(),
            std::string(node.runDir.cStr()) + "/" + node.instance.cStr(),
            std::string(node.dataDir.cStr()) + "/volumes"};
  }
  std::string containers() const { return data + "/containers"; }
  std::string oldVolumes() const { return data + "/volumes"; }  // before runtimes shared them
  std::string exits() const { return run + "/exits"; }
  std::string runtimeState() const { return run + "/state"; }
  // Which crun's and runc's containers wait at until they are started.
  std::string startPipe(const std::string& id) const {
    return runtimeState() + "/" + id + "/exec.fifo";
  }

  std::string disk(const std::string& id) const { return containers() + "/" + id; }
  std::string record(const std::string& id) const { return disk(id) + "/record"; }
  std::string recordCopy(const std::string& id) const { return bundle(id) + "/record"; }
  std::string state(const std::string& id) const { return disk(id) + "/state"; }
  std::string log(const std::string& id) const { return disk(id) + "/log"; }
  std::string bundle(const std::string& id) const { return run + "/" + id; }
  std::string rootfs(const std::string& id) const { return bundle(id) + "/rootfs"; }
  std::string pidFile(const std::string& id) const { return bundle(id) + "/pid"; }
  std::string exitFile(const std::string& id) const { return exits() + "/" + id; }
};

}  // namespace orch::runtime
