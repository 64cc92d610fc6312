#include "container.h"

#include <capnp/serialize.h>

#include "process-table.h"

namespace orch::runtime {

Container::Container(std::string id)
    : Container(std::move(id), kj::newPromiseAndFulfiller<void>(),
                kj::newPromiseAndFulfiller<void>(), kj::newPromiseAndFulfiller<void>()) {}

Container::Container(std::string id, kj::PromiseFulfillerPair<void> exit,
                     kj::PromiseFulfillerPair<void> file, kj::PromiseFulfillerPair<void> give)
    : id(std::move(id)),
      exitSeen(kj::mv(exit.fulfiller)),
      givenUp(kj::mv(give.fulfiller)),
      giving(give.promise.fork()),
      exitFileThere(kj::mv(file.fulfiller)),
      exited(exit.promise.fork()),
      exitFile(file.promise.fork()) {}

void Container::load(kj::ArrayPtr<const capnp::word> words) {
  capnp::FlatArrayMessageReader reader(words);
  auto record = reader.getRoot<Record>();
  taskName = record.getTaskName().cStr();
  for (auto label : record.getLabels()) {
    labels.emplace_back(label.getKey().cStr(), label.getValue().cStr());
  }
  for (auto volume : record.getVolumes()) volumes.push_back(volume.cStr());
  stopSignal = record.getStopSignal();
  logMaxBytes = record.getLogMaxBytes();
  logMaxFiles = record.getLogMaxFiles();
  hasTerminal = record.getTerminal();
  isInteractive = record.getInteractive();
}

void Container::setExited() {
  stage = Stage::EXITED;
  process = nullptr;
  runner = nullptr;
  exitSeen->fulfill();
}

kj::Promise<void> Container::whenWritten() {
  if (!writing) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  written = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

void Container::setWritten() {
  writing = false;
  KJ_IF_MAYBE (fulfiller, written) (*fulfiller)->fulfill();
  written = nullptr;
}

void Container::setNeverMade(const kj::Exception& why) { exitSeen->reject(kj::cp(why)); }

bool Container::signal(int number) { return process.get() >= 0 && sendSignal(process, number); }

void Container::describe(schema::Container::Builder to) const {
  to.setId(id.c_str());
  if (!trouble.empty()) {
    to.setState(schema::Container::State::RUNNING);
    return;
  }
  switch (stage) {
    case Stage::CREATING:
    case Stage::CREATED:
      to.setState(schema::Container::State::CREATED);
      break;
    case Stage::RUNNING:
      to.setState(schema::Container::State::RUNNING);
      break;
    case Stage::EXITED:
      to.setState(schema::Container::State::EXITED);
      break;
  }
  to.setPid(lives() ? state.init.pid : 0);
  to.setStartedAtNs(state.startedAtNs);
  if (stage == Stage::EXITED) describeExit(to.initExit());
  auto list = to.initLabels(labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    list[i].setKey(labels[i].first.c_str());
    list[i].setValue(labels[i].second.c_str());
  }
}

void Container::describeExit(schema::ExitStatus::Builder to) const {
  to.setCode(state.code);
  to.setAtNs(state.exitedAtNs);
  to.setOomKilled(state.oomKilled);
  switch (state.lost) {
    case Lost::NOT:
      break;
    case Lost::REBOOT:
      to.setLost("the node went down while it ran; its exit status is lost");
      break;
    case Lost::CONMON:
      to.setLost("its conmon ended; log and exit status are lost");
      break;
  }
}

}  // namespace orch::runtime
