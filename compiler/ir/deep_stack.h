// A stack for work that recurses with the depth of an expression: compiling, differentiating. The
// caller's may be small: threads with 64 KB are common in servers.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>

namespace kroton {

// Runs `work` on a thread of its own with 64 MB of stack, of which only what is used takes memory,
// and waits for it. What `work` throws, this throws. The lines of the caller's LineScope hold there
// too; signals stay with the caller's threads; the floating-point environment is the default one,
// so that what the compiler computes does not depend on the caller's. Inside such work it is a
// plain call. bad_alloc if there is no address space, system_error if there is no thread left.
void run_on_deep_stack(const std::function<void()>& work);

// A thread with such a stack, for work beside the caller's. The caller joins it.
class DeepThread {
 public:
  // As run_on_deep_stack, but does not wait. What it refers to must live until the join.
  explicit DeepThread(std::function<void()> work);
  DeepThread(DeepThread&&) noexcept;
  DeepThread& operator=(DeepThread&&) = delete;
  ~DeepThread();  // waits, and drops what the work has thrown
  // Waits for the work, and throws what it has thrown.
  void join();

 private:
  struct Running;
  std::unique_ptr<Running> running_;
};

// The thread that waits for the work in progress on such a stack; elsewhere this one.
std::thread::id thread_served();

// The same for work with a result.
template <class F>
auto on_deep_stack(const F& work) {
  using Result = std::invoke_result_t<const F&>;
  if constexpr (std::is_void_v<Result>) {
    run_on_deep_stack(std::cref(work));
  } else {
    std::optional<Result> result;
    const auto keep = [&] { result.emplace(work()); };
    run_on_deep_stack(std::cref(keep));
    return std::move(*result);
  }
}

}  // namespace kroton
