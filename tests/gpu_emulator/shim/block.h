// A block of threads that runs: each is a fiber that goes on until it waits or returns.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "switch.h"

namespace emulator {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// What the host passes for one launch; laid out alike in kernels.h.
struct Launch {
  int64_t number;  // of all launches of the process: logs outlive this source's
  int64_t blocks;
  int64_t threads;
  int64_t argument_count;
  const uint64_t* values;
  const int64_t* bytes;  // of the memory behind an address; -1: a number
  void* const* shadows;  // per argument: the log of its first byte
  char* message;         // of message_size bytes: what went wrong
  int64_t message_size;
  // Told of every access of a thread to memory, if given: the number of the argument, or minus the
  // line of the shared array; the line of the access.
  void (*touch)(void* environment, int64_t array, int line, bool writes, unsigned thread,
                uint64_t place, int bytes);
  void* environment;
  void (*end_block)(void* environment);
  int64_t together;  // 1: all blocks run at once, and may wait for each other
};

// Who touched an element last, or several threads since the last barrier.
struct Access {
  uint32_t launch = 0;  // 0: nobody
  uint32_t block = 0;
  uint32_t barrier = 0;
  uint32_t warp_barrier = 0;
  uint32_t meeting = 0;  // barriers of the grid before it
  uint16_t thread = 0;
  bool many = false;         // more than this thread
  bool many_warps = false;   // of more than this warp
  bool many_blocks = false;  // of more than this block, where they run at once
  bool atomic = false;
};
struct Log {
  Access write, read;
};

enum class State : uint8_t { ready, at_barrier, at_warp, at_meeting, done };
enum class WarpOp : uint8_t { barrier, index, up, down, exclusive_or, ballot, together };

// What a thread has copied to shared memory and not waited for.
struct Underway {
  unsigned char values[16];
  void (*arrive)(const Underway&);
  void* array;
  long long i;
  int count;
  int line;
  uint32_t group;
};

struct Thread {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  State state = State::ready;
  int line = 0;  // where it waits
  WarpOp op = WarpOp::barrier;
  uint32_t mask = 0;
  int operand = 0;
  int width = 32;
  uint64_t value = 0;  // given to the warp, then got from it
  Index index;
  Underway* copies = nullptr;  // in the order of their groups
  int copy_count = 0, copy_room = 0;
  uint32_t group = 0;  // of copies: the next one
};

constexpr int most_threads = 1024;
constexpr size_t stack_bytes = 64 * 1024;

// Of a block, what another one finds changed while it runs.
struct BlockState {
  Thread* threads = nullptr;
  uint32_t warp_barriers[most_threads / 32] = {};
  Index block;
  int place = 0;         // among the blocks that run at once
  uint32_t serial = 0;   // counts blocks of all launches
  uint32_t barrier = 1;  // counts barriers of the block
};

struct Machine : BlockState {
  Thread* current = nullptr;
  void* scheduler = nullptr;
  char** free_stacks = nullptr;
  int free_count = 0, free_room = 0;
  Index block_count, block_size;
  uint32_t launch = 0;   // the launch's number
  uint32_t serials = 0;  // blocks of all launches so far
  uint32_t meeting = 0;  // barriers of the grid of this launch so far
  void (*body)(void*) = nullptr;
  void* environment = nullptr;
  const Launch* request = nullptr;
  bool failed = false;
};
static Machine machine;

inline unsigned thread_number() { return machine.current->index.x; }

// Notes the first thing that goes wrong. The block is given up: no fiber runs on.
template <class... A>
inline void note_failure(const char* format, A... arguments) {
  if (machine.failed) return;
  machine.failed = true;
  snprintf(machine.request->message, static_cast<size_t>(machine.request->message_size), format,
           arguments...);
}

// The same, from inside a thread.
template <class... A>
[[noreturn]] inline void fail(const char* format, A... arguments) {
  note_failure(format, arguments...);
  for (;;) kroton_emulator_switch(&machine.current->stack_pointer, machine.scheduler);
}

inline void give_back(Thread& thread) {
  if (machine.free_count == machine.free_room) {
    machine.free_room = 2 * machine.free_room + most_threads;
    machine.free_stacks = static_cast<char**>(
        realloc(machine.free_stacks, static_cast<size_t>(machine.free_room) * sizeof(char*)));
  }
  machine.free_stacks[machine.free_count++] = thread.stack;
  thread.stack = nullptr;
}

inline void wait(State state, int line) {
  Thread& self = *machine.current;
  self.state = state;
  self.line = line;
  kroton_emulator_switch(&self.stack_pointer, machine.scheduler);
}

}  // namespace emulator
