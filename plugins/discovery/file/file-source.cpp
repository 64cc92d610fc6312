#include "file-source.h"

#include "lib/address.h"
#include "orch/attempt.h"

namespace orch::discovery::file {

FileSource::FileSource(Env& env, std::string path, kj::Duration poll, Watchers& watchers)
    : env(env),
      path(std::move(path)),
      poll(poll),
      watchers(watchers),
      writerEnd(env.timer().now()),
      nextLook(env.timer().now()) {}

// The folder may come later, and there is none to be watched in virtual time.
void FileSource::arm() {
  if (watch != nullptr || !canWatch) return;
  auto slash = path.rfind('/');
  auto made = attemptNow([&] {
    return kj::heap<FolderWatch>(env.eventPort(), path.substr(0, std::max<size_t>(slash, 1)),
                                 path.substr(slash + 1));
  });
  if (made.ok()) {
    watch = kj::mv(made.value());
    nextLook = env.timer().now();  // for what happened before
  } else {
    canWatch = made.error().getType() != kj::Exception::Type::UNIMPLEMENTED;
  }
}

void FileSource::takeEvents() {
  bool over = false;
  KJ_IF_MAYBE (armed, watch) {
    auto happened = (*armed)->take();
    auto now = env.timer().now();
    if (happened.writing) {
      writing = true;
      written = false;
      writerEnd = now + WRITER;
    }
    if (happened.written || happened.removed) writing = false;
    if (happened.written) written = true;
    // Editors remove a file and put another in its place: not at once.
    if (happened.removed || happened.over) nextLook = now;
    over = happened.over;
  }
  if (over) watch = nullptr;
}

Task<void> FileSource::run() {
  for (;;) {
    arm();
    takeEvents();
    auto now = env.timer().now();
    if (writing && now < writerEnd) {
      co_await waitFor(writerEnd - now);
    } else if (written || writing || now >= nextLook) {
      bool certain = written;
      written = writing = false;
      nextLook = now + poll;
      co_await look(certain);
    } else {
      co_await waitFor(nextLook - now);
    }
  }
}

Task<void> FileSource::look(bool certain) {
  auto& files = env.files();
  // Named: g++ 12 destroys twice what a temporary closure in a co_await holds.
  auto read = [&files, path = path] { return readHostFile(files, path); };
  auto file = co_await env.workers().run(kj::mv(read));
  takeEvents();
  if (writing || written) co_return;  // somebody wrote meanwhile
  if (!certain && file.stamp != told && file.stamp != seen) {
    seen = file.stamp;
    nextLook = env.timer().now() + SETTLE;
    co_return;
  }
  told = seen = file.stamp;
  if (!file.problem.empty()) {
    watchers.failed(file.problem.c_str());
    co_return;
  }
  auto parsed = attemptNow([&] { return parseHostFile(file.text, path); });
  if (parsed.ok()) {
    watchers.present(answerOf(parsed.value()));
  } else {
    watchers.failed(parsed.message());
  }
}

// At most so long; less if something happens. Follows takeEvents() without an await between.
Task<void> FileSource::waitFor(kj::Duration most) {
  kj::Promise<void> due = env.timer().afterDelay(most);
  KJ_IF_MAYBE (armed, watch) due = due.exclusiveJoin((*armed)->whenSomething());
  co_await due;
}

}  // namespace orch::discovery::file
