"""The life of an instance after it was provisioned: renamed, frozen, exported, ended, reinstated, erased."""
