#include "hidden-input.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "orch/fail.h"

namespace orch::cli {

namespace {

constexpr size_t MOST = 8192 + 2;
constexpr int ENDING[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
struct termios typingBefore;

void endTyping(int number) {
  tcsetattr(STDIN_FILENO, TCSANOW, &typingBefore);
  raise(number);  // when this returns, with what it does by default
}

}  // namespace

std::string readInput(kj::StringPtr what, bool line) {
  std::string text;
  char buffer[1024];
  for (ssize_t n; (n = ::read(STDIN_FILENO, buffer, line ? 1 : sizeof(buffer))) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(kj::str("cannot read ", what, ": ", strerror(errno)));
    text.append(buffer, n);
    if (text.size() > MOST || (line && buffer[0] == '\n')) break;
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

HiddenTyping::HiddenTyping() {
  tcgetattr(STDIN_FILENO, &typingBefore);
  auto hidden = typingBefore;
  hidden.c_lflag = (hidden.c_lflag & ~ECHO) | ECHONL;
  struct sigaction action = {};
  action.sa_handler = &endTyping;
  action.sa_flags = SA_RESETHAND;
  for (int number : ENDING) sigaction(number, &action, nullptr);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
}

HiddenTyping::~HiddenTyping() {
  tcsetattr(STDIN_FILENO, TCSANOW, &typingBefore);
  for (int number : ENDING) signal(number, SIG_DFL);
}

}  // namespace orch::cli
