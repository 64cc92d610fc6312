#include "command.h"

#include <unistd.h>

#include "arguments.h"
#include "orch/fail.h"
#include "output.h"

namespace orch::cli {

void Context::failed(kj::Exception& error) {
  if (args.operands().size() <= 1) kj::throwFatalException(kj::mv(error));
  out.error(plainText(error));
  status = 1;
}

void checkAgreed(Context& context, kj::StringPtr what) {
  if (context.args.on("--force") || context.out.json) return;
  context.out.write(kj::str("This removes ", what, ". Go on? [y/N] "));
  context.out.flush();
  char answer = 'n';
  bool agreed = ::read(STDIN_FILENO, &answer, 1) == 1 && (answer == 'y' || answer == 'Y');
  if (!agreed) fail(kj::str("nothing was removed: answer y, or give --force"));
}

}  // namespace orch::cli
