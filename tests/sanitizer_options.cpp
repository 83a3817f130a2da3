// What the sanitizers' runtimes ask the program for, when it is built with them.

// NOLINTBEGIN(bugprone-reserved-identifier): the names are the sanitizers'.
extern "C" {

const char* __asan_default_options();
const char* __asan_default_options() {
  // libLLVM is the system's, not instrumented: LLVM's headers poison the arenas that code inside
  // libLLVM then uses without unpoisoning.
  return "allow_user_poisoning=0";
}

const char* __ubsan_default_options();
const char* __ubsan_default_options() { return "print_stacktrace=1"; }

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
