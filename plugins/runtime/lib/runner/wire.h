// The runner's end of the socket that orchd asks it by.
#pragma once

#include <stddef.h>

enum { SOCKET = 0 };

// False at the end of the stream.
int readAll(void* to, size_t bytes);
// Ends the process if there is nobody.
void writeAll(const void* from, size_t bytes);
// The words of a command of so many bytes; null at the end of the stream, and if it is none that
// orchd would send. One at a time.
char** readCommand(size_t bytes);
