// Pictures in folders, one for each class.
#pragma once
