#include "compiler/ir/deep_stack.h"

#include <kroton/tensor.h>
#include <pthread.h>
#include <sys/mman.h>

#include <cfenv>
#include <csignal>
#include <exception>
#include <new>
#include <system_error>

#include "compiler/ir/op.h"

namespace kroton {
namespace {

constexpr std::size_t stack_bytes = std::size_t{64} << 20;
constexpr std::size_t guard_bytes = std::size_t{64} << 10;  // below it: no frame reaches further

thread_local std::optional<std::thread::id> waiting;  // for what this thread does

}  // namespace

// Memory for the stack, given back at the end.
class DeepStack {
 public:
  DeepStack()
      : memory_(::mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    ::mprotect(memory_, guard_bytes, PROT_NONE);
    // A huge page would have to be cleared for the few kilobytes that most work needs.
    ::madvise(memory_, guard_bytes + stack_bytes, MADV_NOHUGEPAGE);
  }
  ~DeepStack() { ::munmap(memory_, guard_bytes + stack_bytes); }
  DeepStack(const DeepStack&) = delete;
  DeepStack& operator=(const DeepStack&) = delete;
  void* begin() const { return static_cast<char*>(memory_) + guard_bytes; }

 private:
  void* memory_;
};

struct DeepJob {
  std::function<void()> work;
  std::optional<SourceLine> line = LineScope::current();
  std::string_view function = LineScope::function();
  const StepScope* step = StepScope::current();
  std::thread::id caller = thread_served();
  std::exception_ptr error = nullptr;
};

namespace {

void* run(void* argument) {
  DeepJob& job = *static_cast<DeepJob*>(argument);
  waiting = job.caller;
  StepScope::current() = job.step;
  std::fesetenv(FE_DFL_ENV);
  try {
    std::optional<LineScope> scope;
    if (job.line) scope.emplace(*job.line, job.function);
    job.work();
  } catch (...) {
    job.error = std::current_exception();
  }
  return nullptr;
}

// The signals that the system raises for what a thread does itself, and a profiler's, may come.
sigset_t signals_of_others() {
  sigset_t set;
  ::sigfillset(&set);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) {
    ::sigdelset(&set, own);
  }
  return set;
}

pthread_t start(const DeepStack& stack, DeepJob& job) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstack(&attributes, stack.begin(), stack_bytes);
  const sigset_t blocked = signals_of_others();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);  // threads begin with their creator's mask
  pthread_t thread{};
  const int failed = ::pthread_create(&thread, &attributes, run, &job);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (failed != 0) {
    throw std::system_error(failed, std::generic_category(), "kroton: no thread to compile on");
  }
  return thread;
}

}  // namespace

struct DeepThread::Running {
  explicit Running(std::function<void()> work) : job{std::move(work)}, thread(start(stack, job)) {}
  // The thread uses what is here: a caller that is cancelled goes when the thread has ended.
  void wait() const {
    int cancel_state = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    ::pthread_join(thread, nullptr);
    ::pthread_setcancelstate(cancel_state, nullptr);
  }

  DeepStack stack;
  DeepJob job;
  pthread_t thread;
};

DeepThread::DeepThread(std::function<void()> work)
    : running_(std::make_unique<Running>(std::move(work))) {}

DeepThread::DeepThread(DeepThread&&) noexcept = default;

DeepThread::~DeepThread() {
  if (running_) running_->wait();
}

void DeepThread::join() {
  running_->wait();
  const std::exception_ptr error = running_->job.error;
  running_.reset();
  if (error) std::rethrow_exception(error);
}

void run_on_deep_stack(const std::function<void()>& work) {
  if (waiting) return work();
  DeepThread(work).join();
}

std::thread::id thread_served() { return waiting.value_or(std::this_thread::get_id()); }

}  // namespace kroton
