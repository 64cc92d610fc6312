#pragma once

// Runs the one program that the socket asks for, to its end or until nobody is at the socket any
// more. The exit status of the runner.
int runOneProgram(void);
