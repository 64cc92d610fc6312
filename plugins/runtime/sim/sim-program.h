// A program that somebody runs in a simulated container and looks on.
#pragma once

#include "attached-program.h"
#include "sim.h"

namespace orch::runtime::sim {

// `exit CODE OUTPUT ERRORS` does that, `stay` stays until a signal or the end of its container,
// `echo CODE` writes what it reads, `flood` writes without end, `missing` is missing; all else ends
// at once.
schema::RunningProgram::Client runProgram(kj::Own<Container> container,
                                          schema::Program::Reader program,
                                          schema::ProgramOutput::Client output);

// Its own program: what is written to it, if it takes that, is what it writes.
schema::RunningProgram::Client attachTo(Env& env, kj::Own<Container> container, bool input,
                                        schema::ProgramOutput::Client output);

}  // namespace orch::runtime::sim
