// A template of a service, as a user may write it; and the value of a label, which is text.
#include <capnp/message.h>

#include <cstdint>

#include "lib/task-template.h"
#include "orch/attempt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace orch;
  if (size > 4096) return 0;
  auto text = kj::heapString(reinterpret_cast<const char*>(data), size);
  capnp::MallocMessageBuilder message;
  auto task = message.initRoot<schema::Task>();
  auto labels = task.initServiceLabels(3);
  const char* keys[] = {"a", "b", "c"};
  for (uint32_t i = 0; i < 3; ++i) {
    labels[i].setKey(keys[i]);
    labels[i].setValue(text);
  }
  control::TemplateFacts facts{"service", "web",  labels.asReader(), "node",      "host", "linux",
                               "x86_64",  "task", "web.1.task",      kj::str("1")};
  attemptNow([&] { control::fillTemplate("the text", text, facts); });
  auto container = task.initSpec().initContainer();
  container.setHostname(text);
  attemptNow([&] { control::tryTemplates(container, "web", labels.asReader()); });
  return 0;
}
