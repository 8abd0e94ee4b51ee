"""Statements of the release before the audit chain (instance schema 0026, platform schema 0015), frozen as text.

Of the tables that have been changed since: a line or a control of that release goes on running them on the newer
schema. Backticks, because MariaDB needs them and SQLite takes them.
"""

from __future__ import annotations

from typing import Final

INSTANCE_STATEMENTS: Final = (
    (
        "INSERT INTO outbox_event (sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery) "
        "VALUES (:sequence, :event_id, :type, :subject, :op_id, :data, :occurred_at_us, :delivery)"
    ),
    (
        "INSERT INTO instance_profile (instance_id, name, customer_id, edition, firm_code, pool, `lines`, "
        "web_services, config_version) VALUES (:instance_id, :name, :customer_id, :edition, :firm_code, "
        ":pool, :lines, :web_services, :config_version)"
    ),
    (
        "INSERT INTO api_client (client_id, name, username, secret_hash, scopes, created_at_us, "
        "disabled_at_us, last_used_us) VALUES (:client_id, :name, :username, :secret_hash, :scopes, "
        ":created_at_us, :disabled_at_us, :last_used_us)"
    ),
    (
        "INSERT INTO meter_counter (meter, month, taken, used, version, noticed_limit, noticed_threshold) "
        "VALUES (:meter, :month, :taken, :used, :version, :noticed_limit, :noticed_threshold)"
    ),
    (
        "SELECT sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery FROM outbox_event "
        "WHERE sequence > :b_after ORDER BY sequence LIMIT :b_limit"
    ),
    (
        "SELECT instance_id, name, customer_id, edition, firm_code, pool, `lines`, web_services, "
        "config_version FROM instance_profile"
    ),
    (
        "UPDATE instance_profile SET name=:b_name, edition=:b_edition, firm_code=:b_firm_code, pool=:b_pool, "
        "`lines`=:b_lines, web_services=:b_web_services, config_version=:b_config_version WHERE instance_id = "
        ":b_instance AND config_version < :b_config_version"
    ),
    (
        "SELECT client_id, name, username, secret_hash, scopes, created_at_us, disabled_at_us, last_used_us "
        "FROM api_client"
    ),
    (
        "SELECT client_id, name, username, secret_hash, scopes, created_at_us, disabled_at_us, last_used_us "
        "FROM api_client ORDER BY name"
    ),
    (
        "SELECT client_id, name, username, secret_hash, scopes, created_at_us, disabled_at_us, last_used_us "
        "FROM api_client WHERE client_id = :b_client"
    ),
    "UPDATE api_client SET secret_hash=:b_secret_hash WHERE client_id = :b_client",
    "UPDATE api_client SET disabled_at_us=:b_now WHERE client_id = :b_client AND disabled_at_us IS NULL",
    (
        "UPDATE api_client SET last_used_us=:b_used WHERE client_id = :b_client AND (last_used_us IS NULL OR "
        "last_used_us < :b_used)"
    ),
    (
        "UPDATE meter_counter SET taken=(taken + :b_taken), used=(used + :b_used), version=(version + "
        ":version_1) WHERE meter = :b_meter AND month = :b_month"
    ),
    "UPDATE meter_counter SET taken=taken WHERE meter = :b_meter AND month = :b_month",
    (
        "UPDATE meter_counter SET noticed_limit=:b_limit, noticed_threshold=:b_threshold WHERE meter = "
        ":b_meter AND month = :b_month"
    ),
    (
        "SELECT meter_counter.taken, meter_counter.used, meter_counter.noticed_limit, "
        "meter_counter.noticed_threshold, contract.contract_id, contract.kind, contract.edition, "
        "contract.line_count, contract.overage, contract.effective_from_us, contract.effective_until_us, "
        "contract.limits FROM meter_counter LEFT OUTER JOIN contract ON contract.effective_from_us < :b_end "
        "AND (contract.effective_until_us IS NULL OR contract.effective_until_us > :b_start) WHERE "
        "meter_counter.meter = :b_meter AND meter_counter.month = :b_month"
    ),
    (
        "SELECT taken, used, noticed_limit, noticed_threshold FROM meter_counter WHERE meter = :b_meter AND "
        "month = :b_month"
    ),
    "SELECT meter, month, taken, used, version, noticed_limit, noticed_threshold FROM meter_counter",
)

PLATFORM_STATEMENTS: Final = (
    (
        "INSERT INTO outbox_event (sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery) "
        "VALUES (:sequence, :event_id, :type, :subject, :op_id, :data, :occurred_at_us, :delivery)"
    ),
    (
        "INSERT INTO customer (customer_id, name, display_name, created_at_us) VALUES (:customer_id, :name, "
        ":display_name, :created_at_us)"
    ),
    (
        "INSERT INTO instance (instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, "
        "state, health, database_url, config_version, applied_version, config_due_us, created_at_us) VALUES "
        "(:instance_id, :customer_id, :name, :edition, :lines, :country, :firm_code, :pool, :state, :health, "
        ":database_url, :config_version, :applied_version, :config_due_us, :created_at_us)"
    ),
    (
        "INSERT INTO contract (contract_id, instance_id, kind, edition, `lines`, overage, effective_from_us, "
        "effective_until_us, limits, created_at_us) VALUES (:contract_id, :instance_id, :kind, :edition, "
        ":lines, :overage, :effective_from_us, :effective_until_us, :limits, :created_at_us)"
    ),
    (
        "INSERT INTO operation (operation_id, kind, object_id, active_object_id, state, steps, current_step, "
        "attempts, due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, "
        "created_at_us, finished_at_us, version) VALUES (:operation_id, :kind, :object_id, :active_object_id, "
        ":state, :steps, :current_step, :attempts, :due_at_us, :owner, :lease_until_us, :deadline_at_us, "
        ":error_code, :error_message, :created_at_us, :finished_at_us, :version)"
    ),
    (
        "INSERT INTO staff_token (token_id, name, `role`, token_hash, created_at_us, expires_at_us, "
        "revoked_at_us) VALUES (:token_id, :name, :role, :token_hash, :created_at_us, :expires_at_us, "
        ":revoked_at_us)"
    ),
    (
        "SELECT sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery FROM outbox_event "
        "WHERE sequence > :b_after ORDER BY sequence LIMIT :b_limit"
    ),
    "SELECT customer_id, name, display_name, created_at_us FROM customer WHERE customer_id = :b_customer",
    (
        "SELECT customer_id, name, display_name, created_at_us FROM customer WHERE customer_id > :b_after "
        "ORDER BY customer_id LIMIT :b_limit"
    ),
    (
        "SELECT instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, state, health, "
        "database_url, config_version, applied_version, config_due_us, created_at_us FROM instance WHERE "
        "instance_id = :b_instance"
    ),
    (
        "SELECT instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, state, health, "
        "database_url, config_version, applied_version, config_due_us, created_at_us FROM instance WHERE name "
        "= :b_name"
    ),
    (
        "SELECT instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, state, health, "
        "database_url, config_version, applied_version, config_due_us, created_at_us FROM instance WHERE "
        "instance_id > :b_after ORDER BY instance_id LIMIT :b_limit"
    ),
    "UPDATE instance SET database_url=:b_url WHERE instance_id = :b_instance",
    ("UPDATE instance SET state=:b_to, health=:b_health WHERE instance_id = :b_instance AND state = :b_from"),
    (
        "UPDATE instance SET config_version=(config_version + :config_version_1) WHERE instance_id = "
        ":b_instance"
    ),
    (
        "UPDATE instance SET config_version=(config_version + :config_version_1) WHERE instance_id = "
        ":b_instance AND config_due_us <= :b_now"
    ),
    (
        "UPDATE instance SET applied_version=:b_version, config_due_us=:b_due WHERE instance_id = :b_instance "
        "AND applied_version < :b_version"
    ),
    (
        "SELECT instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, state, health, "
        "database_url, config_version, applied_version, config_due_us, created_at_us FROM instance WHERE "
        "state = :state_1 AND (applied_version < config_version OR config_due_us <= :b_now) ORDER BY "
        "instance_id LIMIT :b_limit"
    ),
    (
        "SELECT contract_id, instance_id, kind, edition, `lines`, overage, effective_from_us, "
        "effective_until_us, limits, created_at_us FROM contract WHERE instance_id = :b_instance ORDER BY "
        "effective_from_us, contract_id"
    ),
    (
        "UPDATE operation SET active_object_id=:b_active_object_id, state=:b_state, steps=:b_steps, "
        "current_step=:b_current_step, attempts=:b_attempts, due_at_us=:b_due_at_us, owner=:b_owner, "
        "lease_until_us=:b_lease_until_us, error_code=:b_error_code, error_message=:b_error_message, "
        "finished_at_us=:b_finished_at_us, version=(version + :version_1) WHERE operation_id = :b_operation "
        "AND version = :b_expected"
    ),
    (
        "SELECT operation_id, kind, object_id, active_object_id, state, steps, current_step, attempts, "
        "due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, created_at_us, "
        "finished_at_us, version FROM operation WHERE operation_id = :b_operation"
    ),
    (
        "SELECT operation_id, kind, object_id, active_object_id, state, steps, current_step, attempts, "
        "due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, created_at_us, "
        "finished_at_us, version FROM operation WHERE operation_id > :b_after ORDER BY operation_id LIMIT "
        ":b_limit"
    ),
    (
        "SELECT operation_id, kind, object_id, active_object_id, state, steps, current_step, attempts, "
        "due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, created_at_us, "
        "finished_at_us, version FROM operation WHERE (state = :state_1 OR state = :state_2) AND due_at_us <= "
        ":b_now AND (lease_until_us IS NULL OR lease_until_us <= :b_now) ORDER BY due_at_us, operation_id "
        "LIMIT :b_limit"
    ),
    (
        "SELECT operation_id, kind, object_id, active_object_id, state, steps, current_step, attempts, "
        "due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, created_at_us, "
        "finished_at_us, version FROM operation WHERE (state = :state_1 OR state = :state_2) AND owner = "
        ":b_owner"
    ),
    (
        "SELECT operation_id, kind, object_id, active_object_id, state, steps, current_step, attempts, "
        "due_at_us, owner, lease_until_us, deadline_at_us, error_code, error_message, created_at_us, "
        "finished_at_us, version FROM operation WHERE active_object_id = :b_object"
    ),
    (
        "SELECT token_id, name, `role`, token_hash, created_at_us, expires_at_us, revoked_at_us FROM "
        "staff_token WHERE token_hash = :b_hash"
    ),
    (
        "SELECT token_id, name, `role`, token_hash, created_at_us, expires_at_us, revoked_at_us FROM "
        "staff_token WHERE token_id = :b_token"
    ),
    (
        "SELECT token_id, name, `role`, token_hash, created_at_us, expires_at_us, revoked_at_us FROM "
        "staff_token WHERE token_id > :b_after ORDER BY token_id LIMIT :b_limit"
    ),
    "UPDATE staff_token SET revoked_at_us=:b_now WHERE token_id = :b_token AND revoked_at_us IS NULL",
)
