// Tests that need what this machine may lack.
#pragma once
#include <string>

// Prints the line "left out: TEST: WHY". CTest reports a test that prints it as skipped.
void leave_out(const std::string& test, const std::string& why);
