// Prints the addresses of a name as the libc that it is linked to finds them; the tests' way to ask
// musl's resolver.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  int error = getaddrinfo(argc > 1 ? argv[1] : "", NULL, &hints, &found);
  if (error != 0) {
    puts(gai_strerror(error));
    return 1;
  }
  for (; found != NULL; found = found->ai_next) {
    char text[INET6_ADDRSTRLEN];
    void* address = found->ai_family == AF_INET
                        ? (void*)&((struct sockaddr_in*)found->ai_addr)->sin_addr
                        : (void*)&((struct sockaddr_in6*)found->ai_addr)->sin6_addr;
    puts(inet_ntop(found->ai_family, address, text, sizeof(text)));
  }
  return 0;
}
