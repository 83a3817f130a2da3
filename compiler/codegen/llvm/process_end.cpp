#include "compiler/codegen/llvm/process_end.h"

#include <kroton/error.h>
#include <pthread.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "compiler/ir/deep_stack.h"

namespace kroton::codegen {
namespace {

thread_local int own_uses = 0;

struct State {
  std::mutex mutex;
  std::condition_variable less;
  int uses = 0;
  bool ended = false;
  bool guarded = false;
  std::thread::id exiting;
};

// Never destroyed: static destructors get here.
State& state() {
  static State* const made = [] {
    auto* fresh = new State;
    // The child of a fork has none of the other threads, whose uses it must not wait for.
    pthread_atfork([] { state().mutex.lock(); }, [] { state().mutex.unlock(); },
                   [] {
                     state().uses = own_uses;
                     state().mutex.unlock();
                   });
    return fresh;
  }();
  return *made;
}

[[noreturn]] void wait_for_the_end() {
  for (;;) ::pause();
}

// Its own uses are over, or exit was called from inside of one: LLVM does that when it gives up.
void at_exit() {
  State& s = state();
  std::unique_lock lock(s.mutex);
  s.ended = true;
  s.exiting = std::this_thread::get_id();
  s.less.wait(lock, [&] { return s.uses == own_uses; });
}

// The last guard: destroyed after all static objects of the program, as it is made before them, and
// before LLVM's, a library that is initialised before the program.
struct LastGuard {
  ~LastGuard() { at_exit(); }
};
[[gnu::init_priority(101)]] LastGuard last_guard;

}  // namespace

CompilerUse::CompilerUse() {
  State& s = state();
  std::unique_lock lock(s.mutex);
  if (s.ended && own_uses == 0) {
    if (s.exiting == thread_served()) {
      throw ValueError(
          "function: the process is ending: functions are made before main returns or exit is "
          "called");
    }
    lock.unlock();
    wait_for_the_end();
  }
  ++s.uses;
  ++own_uses;
  if (s.guarded) return;
  s.guarded = true;
  lock.unlock();
  guard_tables();  // before the first table is made, and counted already if exit has begun
}

CompilerUse::~CompilerUse() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  --s.uses;
  --own_uses;
  s.less.notify_all();
}

CompilerUse::Helper::Helper(int uses_of_its_master) { own_uses = uses_of_its_master; }

CompilerUse::Helper::~Helper() { own_uses = 0; }

int CompilerUse::count() { return own_uses; }

void CompilerUse::guard_tables() {
  if (std::atexit(at_exit) != 0) wait_for_the_end();  // too late: all handlers have run
}

}  // namespace kroton::codegen
