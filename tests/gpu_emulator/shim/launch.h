// Runs a kernel's blocks one after the other, with arguments from the host's.
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
  machine.block_count.x = static_cast<unsigned>(launch->blocks);
  machine.block_size.x = static_cast<unsigned>(launch->threads);
  for (int64_t block = 0; block < launch->blocks && !machine.failed; ++block) {
    machine.block.x = static_cast<unsigned>(block);
    run_block(static_cast<int>(launch->threads));
    if (launch->end_block) launch->end_block(launch->environment);
  }
  if (!machine.failed) return 0;
  for (int t = 0; t < launch->threads; ++t) {
    const Thread& thread = machine.threads[t];
    if (thread.stack && thread.state != State::done) {
      machine.free_stacks[machine.free_count++] = thread.stack;
    }
  }
  return 1;
}

}  // namespace emulator
