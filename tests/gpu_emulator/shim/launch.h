// Runs a kernel's blocks one after the other, or those that wait for each other by turns, with
// arguments from the host's.
#pragma once
#include "memory.h"
#include "schedule.h"

namespace emulator {

template <class T>
struct Argument {
  static constexpr int64_t size = -static_cast<int64_t>(sizeof(T));
  static T make(const Launch& launch, int k) { return static_cast<T>(launch.values[k]); }
};
template <class T>
struct Argument<T*> {
  static constexpr int64_t size = alignof(T);
  static T* make(const Launch& launch, int k) { return reinterpret_cast<T*>(launch.values[k]); }
};
template <class T>
struct Argument<Global<T>> {
  static constexpr int64_t size = alignof(T);
  static Global<T> make(const Launch& launch, int k) {
    return {reinterpret_cast<T*>(launch.values[k]),
            static_cast<long long>(launch.bytes[k] / static_cast<int64_t>(sizeof(T))),
            static_cast<Log*>(launch.shadows[k]), k};
  }
};

// How many parameters the kernel has; into `sizes`, if given: what each pointer
// is aligned to, or minus the size of a number.
template <class... A>
inline int64_t parameters(void (*)(A...), int64_t* sizes) {
  const int64_t all[] = {Argument<A>::size..., 0};
  for (size_t k = 0; sizes && k < sizeof...(A); ++k) sizes[k] = all[k];
  return sizeof...(A);
}

template <int... K>
struct Numbers {};
template <int N, int... K>
struct MakeNumbers : MakeNumbers<N - 1, N - 1, K...> {};
template <int... K>
struct MakeNumbers<0, K...> {
  using Type = Numbers<K...>;
};

template <class... A>
struct Call {
  void (*kernel)(A...);
  const Launch* launch;
  static void run(void* environment) {
    static_cast<Call*>(environment)->apply(typename MakeNumbers<sizeof...(A)>::Type());
  }
  template <int... K>
  void apply(Numbers<K...>) {
    kernel(Argument<A>::make(*launch, K)...);
  }
};

// Blocks that run at once: each goes on until it waits for the grid.
inline void run_together(BlockState* blocks, int count, int threads) {
  for (;;) {
    int waiting = 0;
    for (int k = 0; k < count; ++k) {
      static_cast<BlockState&>(machine) = blocks[k];
      run_block(threads);
      blocks[k] = machine;
      if (machine.failed) return;
      waiting += machine.threads[0].state == State::at_meeting;
    }
    if (waiting == 0) return;
    for (int k = 0; k < count; ++k) {
      const Thread& first = blocks[0].threads[0];
      const Thread& other = blocks[k].threads[0];
      if (first.state == other.state && first.line == other.line) continue;
      note_failure("divergent barrier of the grid: block 0 %s (line %d), block %d %s (line %d)",
                   name_of(first.state), first.line, k, name_of(other.state), other.line);
      return;
    }
    ++machine.meeting;
    for (int k = 0; k < count; ++k) {
      static_cast<BlockState&>(machine) = blocks[k];
      release_block(threads);
      blocks[k] = machine;
    }
  }
}

// 0, or 1 with a message.
template <class... A>
inline int run(void (*kernel)(A...), const Launch* launch) {
  machine.request = launch;
  machine.failed = false;
  if (launch->argument_count != static_cast<int64_t>(sizeof...(A))) {
    note_failure("the kernel takes %d arguments, the launch gives %d", int(sizeof...(A)),
                 int(launch->argument_count));
    return 1;
  }
  Call<A...> call{kernel, launch};
  machine.body = &Call<A...>::run;
  machine.environment = &call;
  machine.launch = static_cast<uint32_t>(launch->number);
  machine.meeting = 0;
  machine.block_count.x = static_cast<unsigned>(launch->blocks);
  machine.block_size.x = static_cast<unsigned>(launch->threads);
  const int threads = static_cast<int>(launch->threads);
  const int at_once = launch->together ? static_cast<int>(launch->blocks) : 1;
  static BlockState* blocks = nullptr;  // with their threads, kept for further launches
  static int room = 0;
  if (room < at_once) {
    blocks = static_cast<BlockState*>(
        realloc(blocks, static_cast<size_t>(at_once) * sizeof(BlockState)));
    for (; room < at_once; ++room) {
      blocks[room] = BlockState();
      blocks[room].threads = new Thread[most_threads];
      blocks[room].place = room;
    }
  }
  const auto begin = [&](int place, int64_t number) {
    static_cast<BlockState&>(machine) = blocks[place];
    machine.block.x = static_cast<unsigned>(number);
    begin_block(threads);
    blocks[place] = machine;
  };
  if (launch->together) {
    for (int k = 0; k < at_once; ++k) begin(k, k);
    run_together(blocks, at_once, threads);
    if (launch->end_block) launch->end_block(launch->environment);
  }
  for (int64_t block = 0; !launch->together && block < launch->blocks && !machine.failed; ++block) {
    begin(0, block);
    run_block(threads);
    if (launch->end_block) launch->end_block(launch->environment);
  }
  if (!machine.failed) return 0;
  for (int k = 0; k < at_once; ++k) {
    for (int t = 0; t < threads; ++t) {
      Thread& thread = blocks[k].threads[t];
      if (thread.stack && thread.state != State::done) give_back(thread);
    }
  }
  return 1;
}

}  // namespace emulator
