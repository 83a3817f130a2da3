// Tables in text files.
#pragma once
